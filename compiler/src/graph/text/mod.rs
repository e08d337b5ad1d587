//! The text form of a graph: it prints to lines that a person reads and that parse back to the same graph.
//!
//! ```text
//! graph "Digits"
//! image(resize = 28, filter = "bilinear", crop = 28, mean = [0.0], std = [255.0])
//!
//! "image" = input(): f32[1, 1, 28, 28]
//! $0 = rsqrt(var("bn.var", [8]), eps = 1e-5)
//! "conv" = conv("image", channels = 8, kernel = 3, stride = 2, padding = [0, 0, 1, 1]): f32[1, 8, 13, 13]
//!   weight = scale(kernel("conv.weight", [8, 1, 3, 3]), axis = 0, by = $0)
//!   bias = times($0, -1.0)
//! "fused" = fused("conv", affine, conv(channels = 8, kernel = 1), add("conv"), relu): f32[1, 8, 13, 13]
//!   ...
//!   layers = ["a", "b"]
//! output "logits" = "fused"
//! ```
//!
//! A node is a line: its name, operator, operands by name, attributes that differ from their defaults, and type; below
//! it stand its weights by their roles and the source nodes it computes. `$n` is an expression that several weights
//! share, or a part of a deep one. A fused node lists its parts in the order they act. Nodes come in [`Graph::order`],
//! so equal networks print equal texts; what no output needs is left out, inputs excepted. Spans are not written.
//!
//! Whitespace and line breaks only separate, `//` starts a comment. Sizes are those of the graph: everything read goes
//! through [`Graph::add`] and the constructors of [`super::weights::Pool`]. Brackets nest 64 deep and weight
//! expressions 256.

mod ops;
mod syntax;
mod weights;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::infer::{self, Role};
use super::{Graph, NodeId, Origin, Preprocessing, TensorType, WeightId};
pub(super) use ops::write as write_op;
use syntax::{Call, Parser, Position, Term, Token, quote};

/// A text that is not a graph, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl ParseError {
    fn new(at: Position, message: impl Into<String>) -> Self {
        ParseError { line: at.line, column: at.column, message: message.into() }
    }
}

/// The graph as text.
pub fn print(graph: &Graph) -> String {
    let mut text = format!("graph {}\n", quote(&graph.name));
    if let Some(Preprocessing { resize, filter, crop, order, mean, std }) = &graph.preprocessing {
        let filter = quote(filter);
        let order = quote(order);
        text += &format!("image(resize = {resize}, filter = {filter}, crop = {crop}, order = {order}, ");
        text += &format!("mean = {mean:?}, std = {std:?})\n");
    }
    text.push('\n');
    let order = graph.order();
    let roots: Vec<WeightId> = order.iter().flat_map(|&id| graph.node(id).weights.iter().copied()).collect();
    let mut weights = weights::Writer::new(&graph.weights, &roots);
    for id in order {
        let node = graph.node(id);
        let operands = graph.operands(id);
        let names: Vec<String> = operands.iter().map(|&of| quote(&graph.node(of).origin.name)).collect();
        let types: Vec<&TensorType> = operands.iter().map(|&of| &graph.node(of).ty).collect();
        // A graph that inference refuses is printed too, so that a dump can show it.
        let roles = infer::weight_shapes(&node.op, &types).unwrap_or_default();
        let mut below = String::new();
        for position in 0..node.weights.len() {
            let label = roles.get(position).map_or("weight", |(role, _)| label(*role));
            below += &format!("  {label} = {}\n", weights.next(&mut text));
        }
        if !node.origin.layers.is_empty() {
            let layers: Vec<String> = node.origin.layers.iter().map(|layer| quote(layer)).collect();
            below += &format!("  layers = [{}]\n", layers.join(", "));
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{} = {}: {}", quote(&node.origin.name), ops::write(&node.op, &names), node.ty);
        text += &below;
    }
    for output in graph.outputs() {
        let _ = writeln!(text, "output {} = {}", quote(&output.name), quote(&graph.node(output.node).origin.name));
    }
    text
}

/// The graph that a text describes.
///
/// # Errors
/// The first mistake: of the form, of a name, or of a node that inference does not admit.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    let mut parser = Parser::new(text)?;
    parser.keyword("graph")?;
    let mut reader = Reader {
        graph: Graph::new(parser.text("the graph's name")?.1),
        nodes: BTreeMap::new(),
        weights: weights::Reader::default(),
    };
    loop {
        match parser.peek() {
            Token::End => return Ok(reader.graph),
            Token::Word("image") => reader.preprocessing(Call::new(parser.term()?)?)?,
            Token::Word("output") => {
                parser.keyword("output")?;
                let (_, name) = parser.text("the output's name")?;
                parser.expect('=')?;
                let (at, node) = parser.text("a node's name")?;
                let node = reader.node(at, &node)?;
                reader.graph.add_output(name, node);
            }
            Token::Reference(_) => {
                let (at, name) = parser.reference()?;
                parser.expect('=')?;
                let value = parser.term()?;
                reader.weights.define(&mut reader.graph.weights, at, name, value)?;
            }
            Token::Text(_) => reader.statement(&mut parser)?,
            Token::Word(_) | Token::Punctuation(_) | Token::DotDot => {
                return Err(parser.unexpected("a node, `$n`, `output` or `image`"));
            }
        }
    }
}

/// What a weight is called below its node.
fn label(role: Role) -> &'static str {
    match role {
        Role::Kernel => "weight",
        Role::Bias => "bias",
        Role::Gamma => "gamma",
        Role::Beta => "beta",
        Role::Mean => "mean",
        Role::Var => "var",
        Role::Value => "value",
    }
}

struct Reader<'a> {
    graph: Graph,
    nodes: BTreeMap<String, NodeId>,
    weights: weights::Reader<'a>,
}

impl<'a> Reader<'a> {
    fn node(&self, at: Position, name: &str) -> Result<NodeId, ParseError> {
        self.nodes.get(name).copied().ok_or_else(|| ParseError::new(at, format!("no node is named {}", quote(name))))
    }

    /// `"name" = op(…): type`, and below it `role = weight` and `layers = […]`.
    fn statement(&mut self, parser: &mut Parser<'a>) -> Result<(), ParseError> {
        let (at, name) = parser.text("a node's name")?;
        parser.expect('=')?;
        let call = Call::new(parser.term()?)?;
        parser.expect(':')?;
        let (type_at, ty) = tensor_type(parser)?;
        let mut layers = Vec::new();
        let mut weights = Vec::new();
        while let Token::Word(word) = *parser.peek()
            && !["output", "image", "graph"].contains(&word)
        {
            let at = parser.at();
            parser.keyword(word)?;
            parser.expect('=')?;
            let value = parser.term()?;
            if word == "layers" {
                layers = value.list()?.into_iter().map(Term::text).collect::<Result<_, _>>()?;
            } else {
                weights.push((at, word, value));
            }
        }
        let has = |label: &str| weights.iter().any(|(_, have, _)| *have == label);
        let (op, operands) = ops::read(call, &ty, has("bias"), has("gamma"))?;
        let operands = operands
            .into_iter()
            .map(|operand| {
                let at = operand.at;
                self.node(at, &operand.text()?)
            })
            .collect::<Result<Vec<NodeId>, ParseError>>()?;

        let types: Vec<&TensorType> = operands.iter().map(|&of| &self.graph.node(of).ty).collect();
        let misfit = |error: infer::TypeError| ParseError::new(at, error.to_string());
        let roles = infer::weight_shapes(&op, &types).map_err(misfit)?;
        let mut ids = Vec::new();
        for (i, (at, have, value)) in weights.into_iter().enumerate() {
            let expected = roles.get(i).map_or("no weight", |(role, _)| label(*role));
            if have != expected {
                return Err(ParseError::new(at, format!("`{have}` where the operator has {expected}")));
            }
            ids.push(self.weights.read(&mut self.graph.weights, value)?);
        }
        let id = self
            .graph
            .add(op, &operands, ids, Origin { name: name.clone(), span: None, layers })
            .map_err(|error| ParseError::new(at, error.to_string()))?;
        let inferred = &self.graph.node(id).ty;
        if *inferred != ty {
            return Err(ParseError::new(type_at, format!("the node is {inferred}, not {ty}")));
        }
        if self.nodes.insert(name.clone(), id).is_some() {
            return Err(ParseError::new(at, format!("two nodes are named {}", quote(&name))));
        }
        Ok(())
    }

    fn preprocessing(&mut self, mut call: Call<'a>) -> Result<(), ParseError> {
        let numbers = |term: Term<'_>| term.list()?.into_iter().map(|number| number.f64()).collect::<Result<_, _>>();
        self.graph.preprocessing = Some(Preprocessing {
            resize: call.require("resize")?.usize()?,
            filter: call.require("filter")?.text()?,
            crop: call.require("crop")?.usize()?,
            order: call.require("order")?.text()?,
            mean: numbers(call.require("mean")?)?,
            std: numbers(call.require("std")?)?,
        });
        call.finish()
    }
}

/// `f32[1, 3, 224, 224]`
fn tensor_type(parser: &mut Parser<'_>) -> Result<(Position, TensorType), ParseError> {
    let at = parser.at();
    let dtype = match *parser.peek() {
        Token::Word(word) => super::DType::ALL.into_iter().find(|dtype| dtype.to_string() == word),
        Token::Text(_) | Token::Reference(_) | Token::Punctuation(_) | Token::DotDot | Token::End => None,
    };
    let Some(dtype) = dtype else { return Err(parser.unexpected("a type")) };
    parser.advance()?;
    Ok((at, TensorType { dtype, shape: parser.term()?.usizes()? }))
}

#[cfg(test)]
mod tests;
