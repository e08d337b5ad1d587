//! One kernel of each family, as each target has it.

use std::collections::BTreeSet;

use crate::back::rust::kernel_text;
use crate::front::{NoFiles, Overrides, elaborate, parse_text};
use crate::kernel::stats::kind;
use crate::pipeline::{Compiled, Options, compile};
use crate::target::Target;

/// A layer of each family, as small as shows its edges: rows of three pixels, channels that fill no block.
const NET: &str = r#"
pub net Families(image: [1, 3, 3, 3], map: [1, 16, 7, 7]) {
    let x = image.conv(18, 3, padding = 1, name = "conv").relu6();
    let y = x.conv(18, 3, padding = 1, groups = 18, name = "depthwise").relu();
    let y = y.conv(18, 1, name = "pointwise");
    let y = x + y;
    let pooled = y.max_pool(2, stride = 1);
    let z = map.conv(16, 1, name = "blocks").conv(32, 3, padding = 1, name = "winograd").relu();
    let rows = y.reshape([1, 18, 9]);
    let turned = rows.gather(2, [8, 7, 6, 5, 4, 3, 2, 1, 0]);
    let products = rows.matmul(rows.transpose([0, 2, 1]));
    (pooled.silu() + pooled, y.global_avg_pool().flatten().linear(5, name = "linear").softmax(), z.global_avg_pool(), products, turned)
}
"#;

const FAMILIES: [&str; 13] = [
    "chain",
    "conv",
    "depthwise",
    "gather",
    "global_pool",
    "linear",
    "matmul",
    "pointwise",
    "pool",
    "relayout",
    "softmax",
    "transpose",
    "winograd",
];

#[test]
fn every_family_on_every_target() {
    let spec = parse_text("families.net", NET).unwrap_or_else(|error| panic!("{error}"));
    let graph = elaborate(&spec, "Families", &Overrides::default(), &NoFiles).unwrap_or_else(|error| panic!("{error}"));
    let options = Options { targets: Target::ALL.to_vec(), ..Options::default() };
    let Compiled { programs, .. } = compile(graph, &options).unwrap_or_else(|error| panic!("{error}"));
    let kinds: BTreeSet<String> = programs.iter().flat_map(|p| p.kernels.iter().map(|k| kind(&k.name))).collect();
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), FAMILIES);
    for family in FAMILIES {
        let mut text = String::new();
        for program in &programs {
            let kernel = program.kernels.iter().find(|kernel| kind(&kernel.name) == family).expect("a kernel");
            text += &format!("// {}\n{}\n", program.target, kernel_text(program, kernel).expect("it prints"));
        }
        insta::assert_snapshot!(family, text);
    }
}
