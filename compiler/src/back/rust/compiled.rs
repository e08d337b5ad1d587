//! A network as the emitter takes it: its programs, one a target, and the weights that they share.

use std::collections::HashMap;

use kiln_rt::weights::expr::ExprError;
use kiln_rt::weights::{Expr, Form, WeightProgram};
use kiln_rt::weights_file::{Span, file_bytes};
use kiln_rt::weights_writer::place;
use proc_macro2::Ident;

use super::names::{Namer, ident, upper};
use crate::graph::weights::map_operands;
use crate::graph::{Activation, DType, Graph, Op, Stage, TensorType, Verified, WeightId};
use crate::kernel::{Arg, Buffer, Elem, Kernel, ParamKind, Place, Program};
use crate::target::Target;

/// A network compiled for some targets.
#[derive(Debug)]
pub struct Compiled<'p> {
    pub(super) signature: Signature,
    /// Best target first.
    pub(super) programs: Vec<&'p Program>,
    pub(super) packing: Packing,
}

/// What a network takes and gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The network's name.
    pub name: String,
    /// Its inputs, in order.
    pub inputs: Vec<Tensor>,
    /// Its outputs, in order.
    pub outputs: Vec<Tensor>,
    /// Whether its first output is a softmax's.
    pub probabilities: bool,
    /// Whether it rounds numbers to integers on its way: a difference in the last bit becomes one of a step then.
    pub quantizes: bool,
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: DType,
    /// Its logical extents.
    pub shape: Vec<usize>,
}

impl Tensor {
    /// Its elements' type in Rust.
    pub(super) fn rust_type(&self) -> Ident {
        ident(&self.dtype.to_string())
    }

    /// How many elements it has.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The packed weights of all programs: a tensor is an expression in a form, and is there once for all targets.
#[derive(Clone, Debug)]
pub struct Packing {
    /// The expressions of all programs, each once.
    pub exprs: Vec<Expr>,
    /// Expression and form of each packed tensor, in the order of the weights file.
    pub packed: Vec<(WeightId, Form)>,
    /// Where each tensor lies.
    pub spans: Vec<Span>,
    /// What a weights file for these kernels carries in its header.
    pub hash: u64,
    /// A constant's name for each tensor.
    pub(super) names: Vec<String>,
    /// Which tensor a program's weight is, by program, its own id and form.
    tensors: HashMap<(usize, WeightId, Form), usize>,
}

/// What cannot be emitted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An element type without instructions.
    #[error("kernel `{kernel}`: the Rust back end has no blocks of type {elem:?}")]
    Elem {
        /// The kernel.
        kernel: String,
        /// The type.
        elem: Elem,
    },
    /// A list of blocks is one base and offsets.
    #[error("a step of `{kernel}` lists blocks of different memories for `{param}`")]
    Memories {
        /// The kernel.
        kernel: String,
        /// The parameter.
        param: String,
    },
    /// Offsets are 32-bit.
    #[error("a step of `{kernel}` reaches past 2^32 elements of `{param}`")]
    Offset {
        /// The kernel.
        kernel: String,
        /// The parameter.
        param: String,
    },
    /// A weight that no form takes: a mistake in lowering.
    #[error("weights: {0}")]
    Weights(#[from] ExprError),
    /// Tokens that are no Rust: a mistake in the emitter.
    #[error("emitted code: {0}")]
    Tokens(#[from] syn::Error),
}

impl<'p> Compiled<'p> {
    /// Joins the programs of one network, best target first.
    ///
    /// # Errors
    /// What a program has that this back end cannot write.
    pub fn new(signature: Signature, programs: &'p [Verified<Program>]) -> Result<Self, Error> {
        let mut programs: Vec<&Program> = programs.iter().map(|program| &**program).collect();
        programs.sort_by_key(|program| program.target);
        for program in &programs {
            check(program)?;
        }
        let packing = Packing::of(&programs)?;
        Ok(Compiled { signature, programs, packing })
    }

    /// The packed weights.
    pub fn packing(&self) -> &Packing {
        &self.packing
    }

    /// What the network takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The targets, best first.
    pub fn targets(&self) -> impl Iterator<Item = Target> {
        self.programs.iter().map(|program| program.target)
    }
}

impl Signature {
    /// The signature of a graph.
    pub fn of(graph: &Graph) -> Signature {
        let tensor = |name: &str, id| {
            let TensorType { dtype, shape } = graph.node(id).ty.clone();
            Tensor { name: name.to_owned(), dtype, shape }
        };
        let inputs = graph.inputs().iter().map(|&id| tensor(&graph.node(id).origin.name, id)).collect();
        let outputs = graph.outputs().iter().map(|output| tensor(&output.name, output.node)).collect();
        let first = graph.outputs().first().map(|output| &graph.node(output.node).op);
        let probabilities = matches!(first, Some(Op::Softmax { .. }));
        let rounds = |op: &Op| match op {
            Op::Activate(Activation::Quantize { .. }) => true,
            Op::Fused { before, after, .. } => {
                let mut stages = before.iter().chain(after);
                stages.any(|stage| matches!(stage, Stage::Activate(Activation::Quantize { .. })))
            }
            _ => false,
        };
        let quantizes = graph.ids().any(|id| rounds(&graph.node(id).op));
        Signature { name: graph.name.clone(), inputs, outputs, probabilities, quantizes }
    }
}

impl Packing {
    fn of(programs: &[&Program]) -> Result<Packing, Error> {
        let mut packing = Packing {
            exprs: Vec::new(),
            packed: Vec::new(),
            spans: Vec::new(),
            hash: 0,
            names: Vec::new(),
            tensors: HashMap::new(),
        };
        let mut known: HashMap<Expr, WeightId> = HashMap::new();
        let mut placed: HashMap<(WeightId, Form), usize> = HashMap::new();
        // What else stands in their module.
        let mut namer = Namer::without(&["layout", "program", "exprs", "packed"]);
        for (index, program) in programs.iter().enumerate() {
            let mut merged: Vec<WeightId> = Vec::with_capacity(program.weights.len());
            for expr in &program.weights {
                let expr = map_operands(expr, |of| merged[of.index()]);
                merged.push(*known.entry(expr.clone()).or_insert_with(|| {
                    packing.exprs.push(expr);
                    WeightId(packing.exprs.len() as u32 - 1)
                }));
            }
            for buffer in &program.buffers {
                let Buffer { name, place: Place::Packed { weight, form }, .. } = buffer else { continue };
                let key = (merged[weight.index()], *form);
                let tensor = *placed.entry(key).or_insert_with(|| {
                    packing.packed.push(key);
                    packing.names.push(upper(&namer.fresh(name).to_string()));
                    packing.packed.len() - 1
                });
                packing.tensors.insert((index, *weight, *form), tensor);
            }
        }
        packing.spans = place(&packing.program().lengths()?);
        packing.hash = packing.hash();
        Ok(packing)
    }

    /// The program that evaluates and packs the tensors, from trained weights to the weights file.
    pub fn program(&self) -> WeightProgram<'_> {
        WeightProgram { exprs: &self.exprs, packed: &self.packed }
    }

    /// The length of the weights file.
    pub fn file_bytes(&self) -> usize {
        file_bytes(&self.spans)
    }

    /// The tensor of a program's packed buffer.
    pub(super) fn tensor(&self, program: usize, weight: WeightId, form: Form) -> usize {
        self.tensors[&(program, weight, form)]
    }

    /// Fowler, Noll and Vo's hash 1a of the weight program: expressions, forms, places.
    fn hash(&self) -> u64 {
        let text = format!("{:?} {:?} {:?}", self.exprs, self.packed, self.spans);
        text.bytes()
            .fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
    }
}

/// Whether this back end can write a program.
fn check(program: &Program) -> Result<(), Error> {
    for Kernel { name, params, .. } in &program.kernels {
        for param in params {
            match param.kind {
                ParamKind::Flat { elem: elem @ Elem::Bf16, .. } | ParamKind::Blocks { elem: elem @ Elem::Bf16, .. } => {
                    return Err(Error::Elem { kernel: name.clone(), elem });
                }
                ParamKind::Flat { .. } | ParamKind::Blocks { .. } | ParamKind::Table { .. } => {}
            }
        }
    }
    for step in &program.steps {
        let kernel = program.kernel(step);
        for (param, arg) in kernel.params.iter().zip(&step.args) {
            let Arg::Blocks(regions) = arg else { continue };
            let memory = |place: &Place| match place {
                Place::Input(index) => (0, *index),
                Place::Output(index) => (1, *index),
                Place::Arena(_) => (2, 0),
                Place::Scratch(_) => (3, 0),
                Place::Packed { .. } => (4, 0),
            };
            let mut memories = regions.iter().map(|region| memory(&program.buffer(region.buffer).place));
            let first = memories.next();
            if !memories.all(|memory| Some(memory) == first) {
                return Err(Error::Memories { kernel: kernel.name.clone(), param: param.name.clone() });
            }
        }
    }
    Ok(())
}
