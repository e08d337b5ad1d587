//! The one place where tiles and units are chosen: (shapes, machine) to a schedule. Lowering builds what it says.

use crate::graph::Window;
use crate::kernel::LANES;
use crate::target::Machine;

/// How a line of pixels is cut into register tiles: as few as fit, of one size, and a last one with what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    /// Pixels of a tile.
    pub pixels: usize,
    /// Tiles of that size.
    pub full: usize,
    /// Pixels of the last tile, if there is one more.
    pub rest: usize,
}

impl Tiling {
    /// Cuts `line` pixels into tiles of at most `limit`.
    pub fn of(line: usize, limit: usize) -> Tiling {
        let tiles = line.div_ceil(limit);
        let pixels = line.div_ceil(tiles);
        let full = line / pixels;
        Tiling { pixels, full, rest: line - full * pixels }
    }

    /// Number of tiles.
    pub fn tiles(&self) -> usize {
        self.full + usize::from(self.rest > 0)
    }
}

/// What a step's units are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// A unit is some pixels of all output blocks; a pointwise layer's are this many tiles, others' are rows.
    Pixels {
        /// Tiles of a unit.
        tiles: usize,
    },
    /// A unit is a group of output blocks over all pixels: weights are read once.
    Blocks,
}

/// Tiles and units of a convolution or linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduce {
    /// Output blocks of a tile.
    pub blocks: usize,
    /// Cuts of a line of pixels.
    pub tiling: Tiling,
    /// What a unit is.
    pub units: Units,
    /// Whether the tiles of some output blocks ask for the weights of the next: they are read for the first time then,
    /// and by the first tile.
    pub prefetch: bool,
}

/// What decides the schedule of a layer that sums over channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Channels that an output sums over.
    pub channels: usize,
    /// Kernel taps.
    pub taps: usize,
    /// Output blocks.
    pub blocks: usize,
    /// Lines of pixels: rows of all images, or 1 where pixels are flat.
    pub lines: usize,
    /// Pixels of a line.
    pub line: usize,
    /// Whether blocks can share what they read of the input: not so for grouped convolutions.
    pub shared: bool,
}

/// Chooses for a convolution or linear layer.
pub fn reduce(machine: &Machine, layer: Layer) -> Reduce {
    let Layer { channels, taps, blocks, lines, line, shared } = layer;
    let [one, two] = machine.tile_pixels;
    // Two blocks halve the loads of the input, if the register file holds them; a lone pixel wants several blocks
    // anyway, so that the sums do not wait for each other.
    let (group, limit) = match () {
        () if !shared || blocks == 1 => (1, one),
        () if lines * line == 1 => (blocks.min(machine.lone_pixel_blocks), 1),
        () if two > 0 => (2, two),
        () => (1, one),
    };
    let tiling = Tiling::of(line, limit);
    let panel_bytes = channels * taps * LANES * group * 4;
    let weight_bytes = panel_bytes * blocks.div_ceil(group);
    let units = if lines * tiling.tiles() < 8 || weight_bytes > machine.l2 / 2 {
        Units::Blocks
    } else if lines > 1 {
        Units::Pixels { tiles: 0 }
    } else {
        // About as many units for any number of channels: layers over the same pixels, one after the other, then have
        // the same units, and need no barrier between them where they meet pixel by pixel. 28 divides what networks
        // for images of 224 pixels have, and is shared out evenly by few workers.
        Units::Pixels { tiles: tiling.tiles().div_ceil(28).min(16) }
    };
    // A lone pixel's weights are read as fast as memory gives them anyway.
    let prefetch = units == Units::Blocks && lines * line > 1;
    Reduce { blocks: group, tiling, units, prefetch }
}

/// Tiles of a product of matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// Cuts of the rows.
    pub tiling: Tiling,
    /// Blocks of columns of a tile.
    pub blocks: usize,
}

/// Chooses for products of so many rows and columns: as a layer that reads dense pixels has them.
pub fn product(machine: &Machine, rows: usize, columns: usize) -> Product {
    let [one, two] = machine.tile_pixels;
    let whole = columns / LANES;
    let (blocks, limit) = match () {
        () if whole < 2 => (1, one),
        () if rows == 1 => (whole.min(machine.lone_pixel_blocks), 1),
        () if two > 0 => (2, two),
        () => (1, one),
    };
    Product { tiling: Tiling::of(rows, limit), blocks }
}

/// A form of Winograd's convolution, F(m×m, 3×3): m×m outputs of m+2 by m+2 products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Winograd {
    /// F(2×2, 3×3): 2.25 times fewer products, as exact as direct convolution.
    F2,
    /// F(4×4, 3×3): 4 times fewer products, and about twice the rounding error.
    F4,
}

impl Winograd {
    /// Output rows, and columns, of a patch.
    pub fn outputs(self) -> usize {
        match self {
            Winograd::F2 => 2,
            Winograd::F4 => 4,
        }
    }

    /// Rows, and columns, of a patch.
    pub fn points(self) -> usize {
        self.outputs() + 2
    }

    /// Its name in kernel names.
    pub fn name(self) -> &'static str {
        match self {
            Winograd::F2 => "f2",
            Winograd::F4 => "f4",
        }
    }
}

/// Chooses the form for a 3×3 convolution of stride 1 from so many channels to so many, if direct convolution is not
/// better: by shape alone, so that the targets of a crate share weights. Large maps have few incomplete patches; small
/// ones want small patches, and kernels that do not grow as much.
pub fn winograd(channels: usize, outputs: usize, [oh, ow]: [usize; 2]) -> Option<Winograd> {
    match oh.min(ow) {
        _ if channels < 8 || outputs < 8 => None,
        20.. => Some(Winograd::F4),
        7.. => Some(Winograd::F2),
        _ => None,
    }
}

/// Tiles and units of a convolution by Winograd's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patches {
    /// Output blocks of a tile.
    pub blocks: usize,
    /// The most patches of a tile.
    pub pixels: usize,
    /// Columns of patches that are computed together.
    pub columns: usize,
    /// What a unit is.
    pub units: PatchUnits,
    /// Whether tiles ask for the kernel's next point.
    pub prefetch: bool,
    /// Whether registers hold what a transform reads, so that it is read once.
    pub keeps: bool,
}

/// Units of a convolution by Winograd's algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchUnits {
    /// So many rows of patches.
    Rows(usize),
    /// A group of output blocks, after a step that transforms the input: the kernel is read once.
    Blocks,
}

/// Chooses for a convolution from so many blocks to so many, over so many rows and columns of patches.
pub fn patches(
    machine: &Machine,
    winograd: Winograd,
    [inputs, outputs]: [usize; 2],
    [rows, columns]: [usize; 2],
) -> Patches {
    let [one, two] = machine.tile_pixels;
    let (blocks, pixels) = if two > 0 && outputs > 1 { (2, two) } else { (1, one) };
    let points = winograd.points().pow(2);
    let kernel_bytes = points * inputs * outputs * LANES * LANES * 4;
    let patch_bytes = points * inputs * LANES * 4;
    // What is read from beyond the second-level cache, if it is read so often.
    let beyond = |bytes: usize, times: usize| if bytes > machine.l2 / 2 { bytes * times } else { bytes };
    let streams = kernel_bytes > machine.l2 / 2;
    // As many patches are computed together as that cache holds half of, but not so few that the kernel is read from
    // beyond it too often, nor so many that there are few units.
    let together = (machine.l2 / 2 / patch_bytes).clamp(28, 56);
    let columns_together = Tiling::of(columns, together).pixels;
    let most_rows = if streams { rows.div_ceil(7) } else { (rows / 8).max(1) };
    let rows_together = if columns_together < columns { 1 } else { (together / columns).clamp(1, most_rows) };
    let units = rows.div_ceil(rows_together);
    let all_patches = rows * columns * patch_bytes;
    let by_rows = beyond(kernel_bytes, units * columns.div_ceil(columns_together));
    let by_blocks = kernel_bytes + 2 * all_patches + beyond(all_patches, outputs.div_ceil(blocks));
    let (columns, units) = if units < 7 || by_blocks < by_rows {
        (columns, PatchUnits::Blocks)
    } else {
        (columns_together, PatchUnits::Rows(rows_together))
    };
    // A row of a patch, as many results, and two terms that results share.
    let keeps = machine.blocks_in_registers >= 2 * winograd.points() + 2;
    Patches { blocks, pixels, columns, units, prefetch: streams, keeps }
}

/// Tiles of a depthwise convolution or pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanewise {
    /// Cuts of a row.
    pub tiling: Tiling,
    /// Whether the taps of a kernel row read what they have in common once.
    pub shares_taps: bool,
}

/// Chooses for a depthwise convolution or pool, or, where `arranged`, for what permutes the lanes of its inputs.
pub fn lanewise(machine: &Machine, row: usize, window: Window, arranged: bool) -> Lanewise {
    // From an input's first tap to its last one as many inputs as the tile has pixels are alive, beside as many sums, a
    // weight, and what is just read.
    let sharing = machine.blocks_in_registers.saturating_sub(3) / 2;
    let limit = if arranged { machine.depthwise_pixels.min(sharing.max(1)) } else { machine.depthwise_pixels };
    let tiling = Tiling::of(row, limit);
    let in_common = window.kernel[1] > window.stride[1] && window.dilation[1].is_multiple_of(window.stride[1]);
    Lanewise { tiling, shares_taps: in_common && tiling.pixels <= sharing }
}

/// In what order the elements of a window are added up: by its shape alone, so that all targets add alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowSum {
    /// One after the other.
    InOrder,
    /// Row by row, each apart.
    ByRows,
    /// As a tree.
    Tree,
}

/// Chooses for a mean: its rounding error stays near a millionth, whatever the window.
pub fn window_sum(window: Window) -> WindowSum {
    let [rows, columns] = window.kernel;
    match () {
        () if rows * columns <= 64 => WindowSum::InOrder,
        () if rows.max(columns) <= 16 => WindowSum::ByRows,
        () => WindowSum::Tree,
    }
}

/// Chooses for a mean that is a tree of sums: each has accumulators of its own.
pub fn tree_of_sums(machine: &Machine, row: usize) -> Lanewise {
    Lanewise { tiling: Tiling::of(row, machine.depthwise_pixels.min(4)), shares_taps: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    #[test]
    fn tilings_cover_the_line_with_tiles_of_almost_one_size() {
        for line in 1..200 {
            for limit in 1..15 {
                let Tiling { pixels, full, rest } = Tiling::of(line, limit);
                assert_eq!(pixels * full + rest, line);
                assert!(pixels <= limit && rest < pixels.max(1) && full > 0);
            }
        }
    }

    #[test]
    fn small_maps_with_many_channels_are_transformed_first() {
        let units = |inputs, outputs, side| {
            patches(&Machine::of(Target::Avx512), Winograd::F4, [inputs, outputs], [side, side]).units
        };
        assert_eq!(units(4, 4, 14), PatchUnits::Rows(1));
        assert_eq!(units(16, 16, 14), PatchUnits::Rows(2));
        assert_eq!(units(32, 32, 7), PatchUnits::Blocks);
    }

    #[test]
    fn heavy_weights_make_units_of_blocks() {
        let layer = Layer { channels: 512, taps: 9, blocks: 32, lines: 7, line: 7, shared: true };
        assert_eq!(reduce(&Machine::of(Target::Avx2), layer).units, Units::Blocks);
        let layer = Layer { channels: 16, taps: 9, blocks: 1, lines: 56, line: 56, shared: true };
        assert!(matches!(reduce(&Machine::of(Target::Avx2), layer).units, Units::Pixels { .. }));
    }
}
