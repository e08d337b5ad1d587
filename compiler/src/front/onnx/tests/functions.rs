//! Functions of a model become the nodes that they are made of.

use super::super::proto::attribute_proto::AttributeType;
use super::super::proto::{AttributeProto, FunctionProto, NodeProto, OperatorSetIdProto};
use super::model::Model;
use super::{answers, mistakes, near, ramp};

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn function(name: &str, inputs: &[&str], outputs: &[&str], node: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("own".to_owned()),
        input: strings(inputs),
        output: strings(outputs),
        node,
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(17) }],
        ..FunctionProto::default()
    }
}

/// A node; operators with a point are of a domain.
fn node(op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) -> NodeProto {
    let (domain, op) = op.split_once('.').map_or((None, op), |(domain, op)| (Some(domain.to_owned()), op));
    NodeProto {
        domain,
        op_type: Some(op.to_owned()),
        input: strings(inputs),
        output: strings(outputs),
        attribute,
        ..NodeProto::default()
    }
}

/// `alpha` of a node is the function's `slope`.
fn by_reference() -> AttributeProto {
    AttributeProto {
        name: Some("alpha".to_owned()),
        ref_attr_name: Some("slope".to_owned()),
        r#type: Some(AttributeType::Float as i32),
        ..AttributeProto::default()
    }
}

/// A model whose nodes call functions: name, inputs and outputs of each.
fn called(functions: Vec<FunctionProto>, calls: &[[&str; 3]]) -> Model {
    let mut model = Model::new(17).input("x", &[2, 3]);
    for [op, inputs, outputs] in calls {
        model = model.node(op, inputs, outputs, &[]);
        let last = model.graph().node.len() - 1;
        model.graph().node[last].domain = Some("own".to_owned());
    }
    model.proto.functions = functions;
    model
}

#[test]
fn functions_are_their_bodies() {
    let inner = vec![node("LeakyRelu", &["a"], &["t"], vec![by_reference()]), node("Add", &["t", "b"], &["c"], vec![])];
    let leaky = function("Leaky", &["a", "b"], &["c"], inner);
    // Its own `t` is none of the model's, nor of the other call's; the slope is the default of LeakyRelu, or what is given.
    let outer = vec![
        node("own.Leaky", &["v", "v"], &["t"], vec![]),
        node(
            "own.Leaky",
            &["t", "v"],
            &["w"],
            vec![AttributeProto {
                name: Some("slope".to_owned()),
                f: Some(0.5),
                r#type: Some(AttributeType::Float as i32),
                ..AttributeProto::default()
            }],
        ),
    ];
    let twice = function("Twice", &["v"], &["w", "v"], outer);
    let model = called(vec![leaky, twice], &[["Twice", "x", "t same"]]);
    let model = model.node("Mul", "t same", "y", &[]).output("y");
    let x = ramp(6);
    let leaky = |a: f32, slope: f32| if a < 0.0 { a * slope } else { a };
    let expected: Vec<f32> = x.iter().map(|&v| (leaky(leaky(v, 0.01) + v, 0.5) + v) * v).collect();
    near(&answers(&model, std::slice::from_ref(&x)).remove(0), &expected, 1e-6);
}

#[test]
fn functions_that_never_end_are_refused() {
    let itself = function("F", &["a"], &["b"], vec![node("own.F", &["a"], &["b"], vec![])]);
    assert!(mistakes(called(vec![itself], &[["F", "x", "y"]]).output("y").bytes()).contains("deep"));
    // Two calls each, thirty deep: a thousand million nodes, and as many calls where there are none.
    for body in [vec![node("Relu", &["a"], &["b"], vec![])], vec![]] {
        let mut functions = vec![function("F0", &["a"], &["b"], body)];
        for i in 1..30 {
            let below = format!("own.F{}", i - 1);
            let calls = vec![node(&below, &["a"], &["t"], vec![]), node(&below, &["t"], &["b"], vec![])];
            functions.push(function(&format!("F{i}"), &["a"], &["b"], calls));
        }
        let said = mistakes(called(functions, &[["F29", "x", "y"]]).output("y").bytes());
        assert!(said.contains("bytes of nodes"), "{said}");
    }
}

#[test]
fn functions_of_another_version_are_refused() {
    let mut old = function("F", &["a"], &["b"], vec![node("Relu", &["a"], &["b"], vec![])]);
    old.opset_import[0].version = Some(12);
    let said = mistakes(called(vec![old], &[["F", "x", "y"]]).output("y").bytes());
    assert!(said.contains("version 12 of ONNX's operators, and the model in version 17"), "{said}");
    let one = function("F", &["a"], &["b"], vec![node("Relu", &["a"], &["b"], vec![])]);
    let said = mistakes(called(vec![one], &[["F", "x x", "y"]]).output("y").bytes());
    assert!(said.contains("more inputs or outputs than its function"), "{said}");
}
