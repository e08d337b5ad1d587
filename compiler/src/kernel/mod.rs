//! The kernel IR: a network as a [`Program`] of steps over planned memory.
//!
//! # Meaning
//! A program is a list of [`Step`]s. Each applies a [`Kernel`] to arguments: buffers, lists of blocks, tables. A
//! kernel's work is cut into `units` independent units; a call computes units `lo..hi`, and any split of `0..units`
//! into calls, in any order or at once, gives the same bits. A step starts when what it [waits](Waits) for is done.
//!
//! A **block** is 16 lanes of f32 or i32. Bytes, which inputs and outputs may have, are widened to i32 as they are loaded,
//! and a store keeps the low bits. Feature maps are stored as blocks of 16 channels over their pixels,
//! `[N][H][W][16]`, each block at a place of its own; lanes past the channel count are unspecified. Weights are packed
//! in [`Form`]s. Padding is never stored: loops and taps leave out what lies outside.
//!
//! A kernel's body is a list of [`Stmt`]s, executed in order. Loop variables are integers; [`Index`]es are affine in
//! them, with two extensions, `index mod R` and `table[index]`. [`Value`]s are blocks: sixteen lanes computed alike.
//! The one statement that holds accumulators is the [`Tile`]; what it computes is, for pixel p and block b:
//!
//! ```text
//! acc[p][b] = init                                   for all p, b
//! for each reduction, for each point of its axes:    in order, the last axis fastest; see `Reduction::apart`
//!     acc[p][b] = update(acc[p][b])                  for the pixels that the taps allow
//! finish, with `acc` standing for acc[p][b]          for all p, b
//! ```
//!
//! The order of a reduction is part of its meaning: targets, tiles and workers do not change it. On a target with FMA
//! an update `fma(a, b)` rounds once, elsewhere twice.

mod function;
mod index;
pub mod interp;
pub mod programs;
pub mod stats;
pub mod text;
pub mod verify;

use std::fmt;

use kiln_rt::weights::{Expr, Form};

use crate::graph::{F32, WeightId};
use crate::target::Target;

pub use function::{Binary, Unary};
pub use index::{Bound, Index, Range, Term};

/// Lanes of a block.
pub const LANES: usize = 16;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in its list.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// A buffer of a program; printed `b4`.
    BufferId,
    "b"
);
id!(
    /// A table of a program; printed `t1`.
    TableId,
    "t"
);
id!(
    /// A kernel of a program; printed `k2`.
    KernelId,
    "k"
);
id!(
    /// A parameter of a kernel, by position.
    ParamId,
    "p"
);
id!(
    /// An integer variable of a kernel: `lo`, `hi`, or one bound by a loop, an axis or a tile. Its name stands in
    /// [`Kernel::vars`]; a variable is bound at one place only.
    Var,
    "v"
);
id!(
    /// A value bound by [`Stmt::Let`]; its name stands in [`Kernel::locals`].
    Local,
    "l"
);

impl Var {
    /// The first unit of a call.
    pub const LO: Var = Var(0);
    /// One past the last unit of a call.
    pub const HI: Var = Var(1);
}

/// A compiled network for one target.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The network's name.
    pub name: String,
    /// The instruction set that it is made for.
    pub target: Target,
    /// The weight expressions that packed buffers refer to; ids refer backwards.
    pub weights: Vec<Expr>,
    /// All memory that steps touch.
    pub buffers: Vec<Buffer>,
    /// Constant tables.
    pub tables: Vec<Table>,
    /// Kernels, each distinct.
    pub kernels: Vec<Kernel>,
    /// What runs, in order.
    pub steps: Vec<Step>,
    /// Elements of the arena; buffers at [`Place::Arena`] lie in it.
    pub arena: usize,
    /// Elements of a worker's scratch; buffers at [`Place::Scratch`] lie in it.
    pub scratch: usize,
    /// The least any plan of the same steps needs, in elements: see [`crate::plan`].
    pub arena_lower_bound: usize,
    /// The same sum over lanes that hold a channel: what values need without rounding up to blocks.
    pub logical_lower_bound: usize,
}

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Elem {
    /// IEEE 754 binary32.
    F32,
    /// The upper half of a binary32.
    Bf16,
    /// Signed 32-bit integers.
    I32,
    /// Signed bytes.
    I8,
    /// Unsigned bytes.
    U8,
}

/// A piece of memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Named for the value it holds: `features.0.0.1` is block 1 of that node.
    pub name: String,
    /// Its element type.
    pub elem: Elem,
    /// Its length in elements.
    pub len: usize,
    /// Where it lies.
    pub place: Place,
}

/// Where a buffer lies.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// The network's input of this position, row-major, the caller's memory. Read only.
    Input(usize),
    /// The network's output of this position, row-major, the caller's memory. Never read.
    Output(usize),
    /// In the arena, from this element. Buffers may share elements if never alive at once.
    Arena(usize),
    /// In each worker's scratch, from this element; holds nothing between calls.
    Scratch(usize),
    /// A weight of the model, packed. Read only. Buffers of equal weight and form are one.
    Packed {
        /// Which tensor.
        weight: WeightId,
        /// In what order its elements lie.
        form: Form,
    },
}

/// Constant offsets, shared by the steps that name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Named for what it lists.
    pub name: String,
    /// Its entries.
    pub values: Vec<u32>,
}

/// One call of a kernel for all its units.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Which kernel.
    pub kernel: KernelId,
    /// One argument a parameter.
    pub args: Vec<Arg>,
    /// What must be done before it starts.
    pub waits: Waits,
    /// The source nodes that it computes, by name.
    pub layers: Vec<String>,
}

/// An argument of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arg {
    /// For [`ParamKind::Flat`].
    Flat(Region),
    /// For [`ParamKind::Blocks`]: where each block lies. A single lane of a block is a region too, so a list of
    /// channels anywhere is a list of blocks.
    Blocks(Vec<Region>),
    /// For [`ParamKind::Table`].
    Table(TableId),
}

/// A place in a buffer, from an element on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region {
    /// The buffer.
    pub buffer: BufferId,
    /// The first element.
    pub offset: usize,
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waits {
    /// All units of all earlier steps.
    Barrier,
    /// Unit u reads what unit u of the step before wrote, and nothing else of that step; both have as many units.
    OwnUnits,
}

/// A piece of code, made for its extents; memory is given by its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    /// Named for what it does: `conv3x3_s1_64x64_56x56_relu`.
    pub name: String,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Units that it can compute, `0..units`.
    pub units: usize,
    /// Pairs (written, read) of parameters whose blocks may be the same memory: each element of the second is read by
    /// the store that overwrites it, or before, in the same unit, and not after.
    pub in_place: Vec<(ParamId, ParamId)>,
    /// Names of the variables; `lo` and `hi` are the first two.
    pub vars: Vec<String>,
    /// Names of the locals.
    pub locals: Vec<String>,
    /// What it does.
    pub body: Vec<Stmt>,
    /// Floating-point operations of all units: a multiply-add is two.
    pub flops: u64,
    /// A word on its register tile, for people: `6×1`.
    pub tile: String,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Param {
    /// Its name in the body: `x`, `weight`, `bias`, `y`.
    pub name: String,
    /// What it takes.
    pub kind: ParamKind,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ParamKind {
    /// `len` elements in a row.
    Flat {
        /// Element type.
        elem: Elem,
        /// Elements that the kernel may touch.
        len: usize,
        /// How it touches them.
        access: Access,
    },
    /// `count` pieces of `len` elements, each at a place of its own.
    Blocks {
        /// Element type.
        elem: Elem,
        /// How many.
        count: usize,
        /// Elements that the kernel may touch in each.
        len: usize,
        /// How it touches them.
        access: Access,
    },
    /// A table with `len` entries, each less than `below`.
    Table {
        /// Entries.
        len: usize,
        /// Strict upper bound of the entries.
        below: u32,
    },
}

/// How a kernel touches a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Reads only.
    Read,
    /// Writes only.
    Write,
    /// Both: rings, accumulators, scratch.
    Update,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// Runs the body for each value of the range, ascending.
    For {
        /// The variable.
        var: Var,
        /// Its values.
        range: Range,
        /// Whether it is written out once a value: the range is constant then.
        unroll: bool,
        /// What it repeats.
        body: Vec<Stmt>,
    },
    /// Binds a value to a name, to the end of the enclosing body.
    Let {
        /// The name.
        local: Local,
        /// The value.
        value: Value,
    },
    /// A register tile and its reductions.
    Tile(Tile),
    /// Writes the first `lanes` lanes of a value.
    Store {
        /// Where.
        at: At,
        /// What.
        value: Value,
        /// How many lanes, 1 to 16.
        lanes: usize,
    },
    /// Writes zeros.
    Zero {
        /// From where.
        at: At,
        /// How many elements.
        len: usize,
    },
    /// Asks for a place.
    Prefetch(Prefetch),
}

/// `pixels` × `blocks` accumulators, written out as named registers by the back ends. See the module's comment.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// The variable that counts pixels, 0 to `pixels` - 1.
    pub pixel: Var,
    /// How many.
    pub pixels: usize,
    /// The variable that counts output blocks.
    pub block: Var,
    /// How many.
    pub blocks: usize,
    /// What accumulators start at; may use `pixel` and `block`. Its type is that of the accumulators.
    pub init: Value,
    /// What is accumulated, one reduction after the other.
    pub reductions: Vec<Reduction>,
    /// What becomes of the results; runs for each pixel and block, pixels outside.
    pub finish: Vec<Stmt>,
}

/// A hint that a place will be read soon; no meaning. The place need not be inside its parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefetch {
    /// Where.
    pub at: At,
    /// The cache level to bring it to: 1 or 2.
    pub level: u8,
}

/// Updates over the points of nested axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Reduction {
    /// Outermost first.
    pub axes: Vec<Axis>,
    /// How many axes, from the outermost on, are summed apart: for each value of such an axis, the axes inside of it update
    /// accumulators that start at zero, and these are then added to those outside. So a long sum is a tree, and its
    /// error grows with the depth. Such axes are loops, one that is not is inside of them, and nothing is a [`Update::Max`].
    pub apart: usize,
    /// What each point asks for before it updates, for each of the tile's blocks; it does not depend on the pixel.
    pub prefetch: Option<Prefetch>,
    /// What each point does to each accumulator.
    pub update: Update,
}

/// One axis of a reduction.
#[derive(Clone, Debug, PartialEq)]
pub enum Axis {
    /// A loop.
    Loop {
        /// The variable.
        var: Var,
        /// Its values.
        range: Range,
    },
    /// Written out, one after the other; each for some of the tile's pixels only. That is how columns outside the
    /// input are left out at the edges.
    Taps {
        /// The variable.
        var: Var,
        /// Its values.
        taps: Vec<Tap>,
        /// Whether the taps are one point, in which what two of them read alike is read once. No axis is inside of such
        /// taps, and registers must hold what they share.
        together: bool,
    },
}

/// A value of an unrolled axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tap {
    /// The value.
    pub value: i64,
    /// The first pixel of the tile that it is for.
    pub first: usize,
    /// One past the last.
    pub end: usize,
}

/// What a reduction does to an accumulator.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// `acc = a * b + acc`; of i32s wrapping, as all their arithmetic.
    Fma(Value, Value),
    /// `acc = acc + value`
    Add(Value),
    /// The larger; NaN if either is.
    Max(Value),
}

/// A place in a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct At {
    /// The parameter.
    pub param: ParamId,
    /// Which block, for [`ParamKind::Blocks`]; None for [`ParamKind::Flat`].
    pub block: Option<Index>,
    /// The element in it.
    pub offset: Index,
}

/// Sixteen lanes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// The same number in every lane.
    Const(F32),
    /// The same integer in every lane.
    ConstI32(i32),
    /// What a [`Stmt::Let`] bound.
    Local(Local),
    /// The accumulator, in a tile's `finish`.
    Acc,
    /// Elements from a place on, one a lane; lanes from `lanes` on are zero and are not read.
    Load {
        /// The place of lane 0.
        at: At,
        /// How many are read, 1 to 16.
        lanes: usize,
    },
    /// One element in every lane.
    Splat(At),
    /// Lane i is element `i / width * width + lane` from a place on: one element for each group of lanes.
    SplatGroup {
        /// The place of sixteen elements.
        at: At,
        /// Which element of each group.
        lane: usize,
        /// Lanes of a group: 2, 4 or 8.
        width: usize,
    },
    /// A function of one value.
    Unary(Unary, Box<Value>),
    /// A function of two values.
    Binary(Binary, Box<Value>, Box<Value>),
    /// `a * b + c`, rounded once where the target has FMA.
    Fma(Box<Value>, Box<Value>, Box<Value>),
    /// `if a < b { then } else { otherwise }`; a comparison with NaN is false.
    SelectLt {
        /// Left of `<`.
        a: Box<Value>,
        /// Right of `<`.
        b: Box<Value>,
        /// Where it holds.
        then: Box<Value>,
        /// Where it does not.
        otherwise: Box<Value>,
    },
}

impl At {
    /// An element of a flat parameter.
    pub fn flat(param: ParamId, offset: impl Into<Index>) -> At {
        At { param, block: None, offset: offset.into() }
    }

    /// An element of a block.
    pub fn block(param: ParamId, block: impl Into<Index>, offset: impl Into<Index>) -> At {
        At { param, block: Some(block.into()), offset: offset.into() }
    }
}

impl Program {
    /// The buffer of an id.
    pub fn buffer(&self, id: BufferId) -> &Buffer {
        &self.buffers[id.index()]
    }

    /// The kernel of a step.
    pub fn kernel(&self, step: &Step) -> &Kernel {
        &self.kernels[step.kernel.index()]
    }
}
