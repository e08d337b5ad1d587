//! `kiln zoo --check DIR`: a row a network, and exit code 1 where one is not what its framework says.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_compiler::graph::weights::Source;
use kiln_compiler::graph::{Elements, Graph, count};
use kiln_compiler::pipeline::{Options, compile};
use kiln_compiler::target::Target;
use serde_json::{Value, json};

use super::reference::{Counts, Golden};
use super::{Entry, load, macs};
use crate::array;
use crate::dump::{print, print_json};
use crate::engine::{Engine, Runner};
use crate::inspect::{aligned, grouped};
use crate::progress::Doing;
use crate::report::Failure;
use crate::weights::Weights;

/// How far logits may lie from the stored ones, relative to the largest.
const TOLERANCE: f64 = 1e-5;

/// What was found of a network, and what was expected where the folder says.
struct Row {
    name: &'static str,
    parameters: (u64, Option<u64>),
    macs: (u64, Option<u64>),
    /// Whether weight names, kinds and shapes are those of the stored state, or what differs.
    weights: Option<Result<(), String>>,
    /// The error of the logits, relative to the largest.
    logits: Option<f64>,
    /// Why it could not be run.
    failure: Option<String>,
}

/// Checks networks of which the folder says anything.
pub(super) fn check(
    folder: &Path,
    chosen: &[Entry],
    engine: Option<Engine>,
    jobs: usize,
    json: bool,
) -> Result<(), Failure> {
    if !folder.is_dir() {
        return Err(Failure::new(format!("{} is not a folder", folder.display())));
    }
    let counts = Counts::read(folder)?;
    let mut known = Vec::new();
    for &entry in chosen {
        let golden = Golden::read(folder, entry.1.name)?;
        let count = counts.0.get(entry.1.source).copied();
        if golden.is_some() || count.is_some() {
            known.push((entry, count, golden));
        }
    }
    if known.is_empty() {
        return Err(Failure::new(format!("{} says nothing of these networks", folder.display()))
            .help("it holds counts.json, an object of parameters by framework/model, and golden/NAME.json"));
    }
    let doing = Doing::new("");
    doing.now_counting("checking", known.len());
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(known.len()) {
            scope.spawn(|| {
                while let Some((i, (entry, count, golden))) = {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    known.get(i).map(|known| (i, known))
                } {
                    let row = Row::of(*entry, *count, golden.as_ref(), engine);
                    if let Ok(mut rows) = rows.lock() {
                        rows.push((i, row));
                    }
                    doing.one_done();
                }
            });
        }
    });
    drop(doing);
    let mut rows = rows.into_inner().unwrap_or_default();
    rows.sort_by_key(|(i, _)| *i);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    let wrong = rows.iter().filter(|row| !row.holds()).count();
    let array = || Value::Array(rows.iter().map(Row::object).collect());
    if json {
        print_json(&array())?
    } else {
        print(&table(&rows))?
    }
    match wrong {
        0 => Ok(()),
        1 => Err(Failure::new(format!("1 network of {} is not what {} says", rows.len(), folder.display()))),
        n => Err(Failure::new(format!("{n} networks of {} are not what {} says", rows.len(), folder.display()))),
    }
}

impl Row {
    fn of((_, variant): Entry, count: Option<u64>, golden: Option<&Golden>, engine: Option<Engine>) -> Self {
        let mut row = Row {
            name: variant.name,
            parameters: (0, count.or(golden.and_then(|golden| golden.parameters))),
            macs: (0, golden.and_then(|golden| golden.macs)),
            weights: None,
            logits: None,
            failure: None,
        };
        let graph = match load(variant.name) {
            Ok(graph) => graph,
            Err(failure) => return Row { failure: Some(failure.line()), ..row },
        };
        row.parameters.0 = match variant.source.starts_with("keras/") {
            true => count::sources(&graph).iter().map(|source| source.shape.iter().product::<usize>() as u64).sum(),
            false => count::parameters(&graph) as u64,
        };
        row.macs.0 = macs(&graph);
        if let Some(golden) = golden {
            let weights = compare(&count::sources(&graph), &golden.state);
            if let (Ok(()), Some(engine)) = (&weights, engine) {
                match logits(graph, golden, engine) {
                    Ok(error) => row.logits = Some(error),
                    Err(failure) => row.failure = Some(failure.line()),
                }
            }
            row.weights = Some(weights);
        }
        row
    }

    fn holds(&self) -> bool {
        let equals = |(found, expected): (u64, Option<u64>)| expected.is_none_or(|expected| expected == found);
        self.failure.is_none()
            && equals(self.parameters)
            && equals(self.macs)
            && !matches!(self.weights, Some(Err(_)))
            && self.logits.is_none_or(|error| error <= TOLERANCE)
    }

    fn object(&self) -> Value {
        let (parameters, expected_parameters) = self.parameters;
        let (macs, expected_macs) = self.macs;
        json!({
            "network": self.name,
            "parameters": parameters,
            "expected_parameters": expected_parameters,
            "macs": macs,
            "expected_macs": expected_macs,
            "weights": self.weights.as_ref().map(|weights| weights.as_ref().err().map_or("as expected", |why| why)),
            "logits_error": self.logits,
            "failure": self.failure,
            "holds": self.holds(),
        })
    }
}

/// What the first difference of two lists of tensors is, without regard to order.
fn compare(found: &[Source], expected: &[Source]) -> Result<(), String> {
    let missing = expected.iter().find(|source| !found.iter().any(|other| other.name == source.name));
    if let Some(source) = missing {
        return Err(format!("no `{}`", source.name));
    }
    for source in found {
        match expected.iter().find(|other| other.name == source.name) {
            None => return Err(format!("`{}` too much", source.name)),
            Some(other) if other.shape != source.shape => {
                return Err(format!("`{}` is {:?}, not {:?}", source.name, source.shape, other.shape));
            }
            Some(other) if other.kind != source.kind => {
                return Err(format!("`{}` is a {}, not a {}", source.name, source.kind.name(), other.kind.name()));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The error of a network's logits for weights and input by formula.
fn logits(graph: Graph, golden: &Golden, engine: Engine) -> Result<f64, Failure> {
    let inputs: Vec<Elements> = graph.inputs().iter().map(|&id| array::fill(&graph.node(id).ty)).collect();
    let target = Target::detect();
    let targets = if engine == Engine::Interp { Vec::new() } else { vec![target] };
    let compiled = compile(graph, &Options { targets, ..Options::default() })?;
    let weights = Weights::Fill(golden.gain);
    let found = Runner::new(engine, &compiled, &weights, target, 1)?.run(&inputs)?.swap_remove(0).to_f64();
    if found.len() != golden.output.len() {
        return Err(Failure::new(format!("{} logits, not {}", found.len(), golden.output.len())));
    }
    let largest = golden.output.iter().fold(0f64, |largest, logit| largest.max(logit.abs()));
    let distances = found.iter().zip(&golden.output).map(|(&found, expected)| (found - expected).abs());
    let worst = distances.fold(0f64, |worst, d| if d.is_nan() { f64::INFINITY } else { worst.max(d) });
    Ok(worst / largest.max(1e-30))
}

fn table(rows: &[Row]) -> String {
    let heads = ["network", "", "parameters", "multiply-adds", "weights", "logits", ""];
    let mut lines = vec![heads.map(str::to_owned)];
    let number = |(found, expected): (u64, Option<u64>)| match expected {
        Some(expected) if expected != found => format!("{} for {}", grouped(found), grouped(expected)),
        Some(_) => grouped(found),
        None => String::new(),
    };
    for row in rows {
        lines.push([
            row.name.to_owned(),
            if row.holds() { "ok" } else { "OFF" }.to_owned(),
            number(row.parameters),
            number(row.macs),
            match &row.weights {
                None => String::new(),
                Some(Ok(())) => "ok".to_owned(),
                Some(Err(why)) => why.clone(),
            },
            row.logits.map(|error| format!("{error:.1e}")).unwrap_or_default(),
            row.failure.clone().unwrap_or_default(),
        ]);
    }
    let right = rows.iter().filter(|row| row.holds()).count();
    format!("{}{right} of {} hold\n", aligned(&lines, &[2, 3, 5]), rows.len())
}
