//! What lowering knows of a machine: registers, cache sizes, tile limits. Never read from the host: a [`Machine`]
//! follows from the name of its [`Target`] alone, so the same network gives the same code everywhere.

pub use kiln_rt::target::Target;

/// The figures of a target that decide tiles and units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The instruction set.
    pub target: Target,
    /// The most pixels of a register tile over one, and over two output blocks, that stay in registers.
    /// (Measured: named registers, innermost loop, optimization levels 3 and 1.)
    pub tile_pixels: [usize; 2],
    /// The most output blocks of a lone pixel's tile.
    pub lone_pixel_blocks: usize,
    /// The most pixels of a depthwise tile.
    pub depthwise_pixels: usize,
    /// Blocks of sixteen lanes that the vector registers hold.
    pub blocks_in_registers: usize,
    /// Second-level cache of a core, in bytes.
    pub l2: usize,
}

/// The targets with kernels of their own for an architecture, by Rust's name for it, best first; elsewhere the portable
/// one.
pub fn targets_of(architecture: &str) -> Vec<Target> {
    let own: Vec<Target> =
        Target::ALL.into_iter().filter(|target| target.architecture() == Some(architecture)).collect();
    if own.is_empty() { vec![Target::Portable] } else { own }
}

impl Machine {
    /// The machine that a target stands for.
    pub fn of(target: Target) -> Machine {
        let (tile_pixels, lone_pixel_blocks, depthwise_pixels, blocks_in_registers) = match target {
            // 14×2 accumulators, two weights and a broadcast are 31 of 32 registers.
            Target::Avx512 => ([14, 14], 4, 8, 32),
            // A block is two registers: 6×1 accumulators, two weights and a broadcast are 15 of 16.
            Target::Avx2 => ([6, 0], 4, 4, 8),
            // A block is four registers. A product overwrites a factor, so a weight that serves two pixels is copied for
            // the first, and 16 registers do not hold that: two blocks instead, each weight used once.
            Target::Base => ([1, 1], 2, 1, 4),
            // A block is four registers: 6×1 accumulators, four weights and a broadcast are 29 of 32.
            Target::Neon => ([6, 0], 4, 4, 8),
            Target::Portable => ([2, 0], 2, 2, 4),
        };
        let l2 = match target {
            Target::Avx512 => 2 << 20,
            Target::Avx2 | Target::Base | Target::Neon | Target::Portable => 512 << 10,
        };
        Machine { target, tile_pixels, lone_pixel_blocks, depthwise_pixels, blocks_in_registers, l2 }
    }
}
