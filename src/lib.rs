//! Kiln compiles neural networks to machine code made for that one network.
//!
//! A network is declared with [`network!`] and becomes a type. Its kernels are part of the program: no runtime, no
//! allocation while it runs, every shape a constant. Mistakes in the network are compile errors under the very tokens.
//!
//! ```
//! use kiln::{Target, Threads, network};
//!
//! network! {
//!     /// Two convolutions and a classifier.
//!     pub net Tiny(image: [1, 3, 8, 8], classes = 4) {
//!         let x = image.conv(16, 3, padding = 1, bias = false, name = "conv1").bn(name = "bn1").relu();
//!         let x = x.conv(16, 3, padding = 1, groups = 16, name = "conv2").relu() + x;
//!         x.global_avg_pool().flatten().linear(classes, name = "fc").softmax()
//!     }
//! }
//!
//! # fn trained() -> Vec<u8> {
//! #     use kiln::__private::safetensors::{Dtype, View, write};
//! #     let shapes: [(&str, &[usize]); 9] = [
//! #         ("conv1.weight", &[16, 3, 3, 3]), ("bn1.weight", &[16]), ("bn1.bias", &[16]), ("bn1.running_mean", &[16]),
//! #         ("bn1.running_var", &[16]), ("conv2.weight", &[16, 1, 3, 3]), ("conv2.bias", &[16]),
//! #         ("fc.weight", &[4, 16]), ("fc.bias", &[4]),
//! #     ];
//! #     let zeros = [0; 4 * 16 * 27];
//! #     write(shapes.map(|(name, shape)| {
//! #         (name, View { dtype: Dtype::F32, shape, bytes: &zeros[..4 * shape.iter().product::<usize>()] })
//! #     }))
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let weights = trained(); // std::fs::read("tiny.safetensors")?
//! let model = Tiny::load(&weights)?; // packed weights and target: shared by sessions
//! let mut session = model.session(Threads::new(2)); // memory and workers of one caller
//! let probabilities = session.run(&[0.5; 3 * 8 * 8])?;
//! assert_eq!(probabilities, [0.25; 4]);
//!
//! assert_eq!(Tiny::INPUTS[0].shape, [1, 3, 8, 8]);
//! if Target::Avx2.is_available() {
//!     assert_eq!(Tiny::load_for(&weights, Target::Avx2)?.target(), Target::Avx2);
//! }
//! # Ok(())
//! # }
//! ```

pub use kiln_rt::detect::UnknownTarget;
pub use kiln_rt::load::{LoadError, LoadOptions};
pub use kiln_rt::session::{RunError, Threads};
pub use kiln_rt::target::Target;
pub use kiln_rt::tensor::TensorInfo;

/// What expansions name. No part of the interface.
#[doc(hidden)]
pub mod __private {
    #[cfg(all(feature = "macros", target_arch = "aarch64"))]
    pub use kiln_macros::network_aarch64 as network;
    #[cfg(all(feature = "macros", not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    pub use kiln_macros::network_portable as network;
    #[cfg(all(feature = "macros", target_arch = "x86_64"))]
    pub use kiln_macros::network_x86_64 as network;
    pub use kiln_rt::*;
}

/// Declares networks: each `pub net` becomes a type, or each `net` where none is public.
///
/// ```text
/// fn NAME(x, parameter, parameter = default) { … }               a block, inlined where it is called
/// pub net NAME(input: [1, 3, 224, 224], parameter = default) { … }
/// use "blocks.net";                                              relative to the source file
/// pub use zoo::mobilenet_v2(width = 0.5) as Half;                a net made from another
/// use zoo::blocks;                                               blocks that come with kiln
/// ```
///
/// Of a net `Net` there are `Net::load`, `load_for` and `load_with` (from the bytes of a safetensors file, whose names may
/// have a prefix: `Net::load_with(&file, &LoadOptions::new().strip_prefix("module."))`), `Net::INPUTS` and `OUTPUTS`, and
/// `session`; of its session `run`, `run_named` for several inputs, `run_array` for arrays whose sizes are
/// checked by type, and `output`.
///
/// # Debug builds
///
/// Kernels are part of your package and are compiled at its level: at level 0 they are right, and about 150 times
/// slower. The compiler itself runs inside of the macro, and Cargo builds macros at level 0, also under `--release`. So
/// put nets into a package of their own, and into the `Cargo.toml` of the workspace:
///
/// ```toml
/// [profile.dev.package.my-nets]          # the package that contains network!
/// opt-level = 3                          # level 1 alone leaves calls into kiln as calls
/// debug-assertions = false               # pointer checks cost a factor of two
/// [profile.dev.package.kiln-rt]          # computes packed weights when a model is loaded
/// opt-level = 3
/// [profile.dev.package.kiln-compiler]    # the macro runs the whole compiler
/// opt-level = 3
/// [profile.dev.package.egg]
/// opt-level = 3
/// [profile.release.package.kiln-compiler]
/// opt-level = 3
/// [profile.release.package.egg]
/// opt-level = 3
/// ```
#[cfg(feature = "macros")]
#[macro_export]
macro_rules! network {
    ($($networks:tt)*) => { $crate::__private::network! { $crate::__private; $($networks)* } };
}
