//! ONNX's own test cases, in the folder that `KILN_ONNX_CASES` names (`tests/conformance/fetch` makes one). Without the
//! variable there is nothing to hold against.
//!
//! `tests/conformance/cases.txt` lists the cases whose operators and types of inputs Kiln is for;
//! `INSTA_UPDATE=always` writes it anew. `tests/conformance/skips.txt` lists those of them that do not pass, and why.

mod cases;
mod programs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_compiler::front::onnx::Import;
use kiln_compiler::graph::{DType, Elements, interp};
use kiln_compiler::pipeline::{self, Options, compile};
use kiln_compiler::target::Target;

use cases::{Case, Model};

/// A case passes where all outputs are as near as ONNX's own runner asks.
const RELATIVE: f64 = 1e-3;
const ABSOLUTE: f64 = 1e-7;

/// The least share of the cases that has to pass.
const SHARE: f64 = 0.97;

/// By what a case is run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Engine {
    Interpreter,
    Crate,
}

fn conformance(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(file)
}

/// The cases that do not pass, with the reason: `node/test_x: why`, or `node/test_x (crate): why` where the interpreter
/// passes.
fn skips() -> BTreeMap<(String, Engine), String> {
    let text = std::fs::read_to_string(conformance("skips.txt")).expect("the skipped cases");
    let mut skips = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, reason) = line.split_once(": ").unwrap_or_else(|| panic!("no reason: {line}"));
        let (name, engines) = match name.strip_suffix(" (crate)") {
            Some(name) => (name, &[Engine::Crate][..]),
            None => (name, &[Engine::Interpreter, Engine::Crate][..]),
        };
        for &engine in engines {
            assert!(skips.insert((name.to_owned(), engine), reason.to_owned()).is_none(), "{name} is skipped twice");
        }
    }
    skips
}

/// What is wrong with outputs, if anything is.
fn compare(found: &[Elements], expected: &[Elements]) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{} outputs, not {}", found.len(), expected.len()));
    }
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        if (found.dtype(), found.len()) != (expected.dtype(), expected.len()) {
            let shown = |of: &Elements| format!("{} elements of type {}", of.len(), of.dtype());
            return Err(format!("output {i} has {}, not {}", shown(found), shown(expected)));
        }
        let is_float = matches!(found.dtype(), DType::F32 | DType::F64);
        for (at, (found, expected)) in found.to_f64().into_iter().zip(expected.to_f64()).enumerate() {
            let near = (found - expected).abs() <= ABSOLUTE + RELATIVE * expected.abs();
            let same = found == expected || found.is_nan() && expected.is_nan();
            if !(same || is_float && near) {
                return Err(format!("element {at} of output {i} is {found}, not {expected}"));
            }
        }
    }
    Ok(())
}

/// A case as far as it came.
struct Tried {
    case: Case,
    by_interpreter: Result<(), String>,
    /// None where the case is not for crates.
    compiled: Option<Result<pipeline::Compiled, String>>,
}

/// Whether a case is for crates: it computes something of inputs, and all of its inputs and outputs are of types that
/// crates have.
fn is_for_crates(model: &Model) -> bool {
    let graph = &model.import.graph;
    let ends = graph.inputs().iter().copied().chain(graph.outputs().iter().map(|output| output.node));
    let mut types = ends.map(|node| graph.node(node).ty.dtype);
    !graph.inputs().is_empty()
        && types.all(|dtype| matches!(dtype, DType::F32 | DType::I32 | DType::I8 | DType::U8))
        && model.expected.iter().all(|of| matches!(of.dtype(), DType::F32 | DType::I32 | DType::I8 | DType::U8))
}

/// A panic is a mistake of its case alone.
fn held<T>(run: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|_| Err("it panicked".to_owned()))
}

fn try_case(case: Case, options: &Options) -> Tried {
    let (by_interpreter, compiled) = match &case.model {
        Ok(model) => {
            let Import { graph, tensors } = &model.import;
            let outputs = held(|| interp::run(graph, tensors, &model.inputs).map_err(|error| error.to_string()));
            let compiled = is_for_crates(model).then(|| {
                held(|| compile(graph.clone(), options).map_err(|error| format!("it does not compile: {error}")))
            });
            (outputs.and_then(|outputs| compare(&outputs, &model.expected)), compiled)
        }
        // What is not imported is no crate either.
        Err(why) => (Err(why.clone()), case.is_of_f32s().then(|| Err("it is not imported".to_owned()))),
    };
    Tried { case, by_interpreter, compiled }
}

#[test]
fn cases_of_onnx_pass_by_the_interpreter_and_as_crates() {
    let Some(folder) = std::env::var_os("KILN_ONNX_CASES").map(PathBuf::from) else { return };
    let target = Target::ALL.into_iter().find(|target| target.is_available()).expect("a target");
    let options = Options { targets: vec![target], ..Options::default() };
    let cases = cases::all(&folder);
    let list: String = cases.iter().map(|case| format!("{case}\n")).collect();
    let is_renewed = std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always");
    if is_renewed {
        std::fs::write(conformance("cases.txt"), &list).expect("the list");
    }
    let tried = on_all_processors(cases, |case| try_case(case, &options));
    let compiled: Vec<programs::Program<'_>> = tried
        .iter()
        .filter_map(|tried| match (&tried.compiled, &tried.case.model) {
            (Some(Ok(compiled)), Ok(model)) => Some(programs::Program { name: &tried.case.name, compiled, model }),
            _ => None,
        })
        .collect();
    let mut answers = programs::run(&compiled);

    let mut skips = skips();
    let mut wrong = Vec::new();
    for engine in [Engine::Interpreter, Engine::Crate] {
        let [mut all, mut passed, mut skipped] = [0; 3];
        for tried in &tried {
            let name = &tried.case.name;
            let result = match (engine, &tried.compiled) {
                (Engine::Interpreter, _) => tried.by_interpreter.clone(),
                (Engine::Crate, None) => {
                    skips.remove(&(name.clone(), engine));
                    continue;
                }
                (Engine::Crate, Some(Err(why))) => Err(why.clone()),
                (Engine::Crate, Some(Ok(_))) => {
                    let expected = tried.case.model.as_ref().map(|model| &model.expected);
                    let answer = answers.remove(name).unwrap_or_else(|| Err("there is no answer".to_owned()));
                    answer.and_then(|outputs| compare(&outputs, expected.expect("what was compiled")))
                }
            };
            all += 1;
            match (result, skips.remove(&(name.clone(), engine))) {
                (Ok(()), None) => passed += 1,
                (Ok(()), Some(_)) => wrong.push(format!("{engine:?}: {name} passes, and is among the skipped")),
                (Err(_), Some(_)) => skipped += 1,
                (Err(why), None) => wrong.push(format!("{engine:?}: {name}: {}", why.lines().next().unwrap_or(""))),
            }
        }
        println!("{engine:?}: {passed} of {all} cases of ONNX pass, {skipped} skipped");
        if (passed as f64) < SHARE * all as f64 {
            wrong.push(format!("{engine:?}: {passed} of {all} are too few"));
        }
    }
    wrong.extend(skips.keys().map(|(name, _)| format!("{name} is skipped, and no case of the list")));
    assert!(wrong.is_empty(), "{}\n{} in all", wrong.join("\n"), wrong.len());
    let kept = std::fs::read_to_string(conformance("cases.txt")).expect("the list");
    assert!(kept == list, "tests/conformance/cases.txt is not what the cases are: INSTA_UPDATE=always renews it");
}

/// Maps in order, with as many threads as there are processors.
fn on_all_processors<T: Send, R: Send>(items: Vec<T>, map: impl Fn(T) -> R + Sync) -> Vec<R> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let open = std::sync::Mutex::new(items.into_iter().enumerate());
    let done = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                loop {
                    let Some((at, item)) = open.lock().expect("no panic").next() else { break };
                    let result = map(item);
                    done.lock().expect("no panic").push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no panic");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
