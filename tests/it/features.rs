//! Emitted crates under their features: without a system, from C, with weights given as bytes, for some targets alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kiln_compiler::pipeline::{self, Options, compile};
use kiln_compiler::target::Target;
use kiln_rt::fill::fill_input;
use kiln_rt::weights::FillSource;

use crate::crates;
use crate::golden::elaborated;

/// Two inputs, one named as C names a type, and two outputs.
const NET: &str = r#"
pub net Features(image: [2, 3, 9, 7], double: [2, 5]) {
    let x = image.conv(20, 3, padding = 1, name = "stem").relu();
    let x = x + x.conv(20, 3, padding = 1, groups = 20, name = "depthwise").silu();
    let classes = (x.global_avg_pool().flatten().linear(7, name = "fc") + double.linear(7, name = "other")).softmax();
    let pooled = x.max_pool(2);
    (classes, pooled)
}
"#;

const SOURCE: FillSource = FillSource { gain: 4.0 };

fn network(targets: &[Target]) -> pipeline::Compiled {
    let options = Options { targets: targets.to_vec(), ..Options::default() };
    compile(elaborated("features", NET, &[]), &options).unwrap_or_else(|error| panic!("{error}"))
}

fn available() -> impl Iterator<Item = Target> {
    Options::default().targets.into_iter().filter(|target| target.is_available())
}

/// Runs a program; its output.
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    output
}

/// The crate with its inputs in two files beside its manifest.
fn write_crate(name: &str) -> PathBuf {
    let folder = crates::write(name, &network(&Options::default().targets), &SOURCE);
    for (file, shape) in [("image.bin", &[2, 3, 9, 7][..]), ("double.bin", &[2, 5])] {
        let bytes: Vec<u8> = fill_input(shape).into_iter().flat_map(f32::to_le_bytes).collect();
        std::fs::write(folder.join(file), bytes).expect("a file");
    }
    folder
}

/// Writes the outputs of a session on each target: the answers that all other ways must give. And what is no weights file
/// of this network is refused.
const WITH_STD: &str = r#"
use emitted_features::{Features, LoadError, RunError, Target, Threads, Weights, WeightsError};

fn floats(path: &str) -> Vec<f32> {
    std::fs::read(path).unwrap().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn main() {
    let (image, double) = (floats("image.bin"), floats("double.bin"));
    let inputs: [(&str, &[f32]); 2] = [("double", &double), ("image", &image)];
    let file = std::fs::read("weights.bin").unwrap();
    for name in std::env::args().skip(1) {
        let target: Target = name.parse().unwrap();
        let mut answers = Vec::new();
        let loaded = [
            #[cfg(feature = "embed")]
            Features::load_for(target),
            Features::load_from_for(&file, target),
            Features::load_from_for(Weights::Static(file.clone().leak()), target),
        ];
        for model in loaded {
            let model = model.unwrap();
            assert_eq!(model.target(), target);
            for threads in [1, 2, 3] {
                let mut session = model.session(Threads::exactly(threads));
                session.run_named(&inputs).unwrap();
                let outputs = ["classes", "pooled"].map(|name| session.output(name).unwrap().to_vec());
                answers.push(outputs.concat().into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
            }
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        std::fs::write(format!("{name}.bin"), &answers[0]).unwrap();
    }

    let refused = |file: &[u8]| match Features::load_from(file) {
        Err(LoadError::Weights(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("{} bytes were taken", file.len()),
    };
    let cut = refused(&file[..file.len() - 1]);
    assert_eq!(cut, WeightsError::Cut { expected: file.len(), found: file.len() - 1 });
    assert_eq!(cut.to_string(), format!("the weights file is cut: {} bytes instead of {}", file.len() - 1, file.len()));
    assert_eq!(refused(b"PK\x03\x04"), WeightsError::NotWeights);
    let mut changed = file.clone();
    changed[file.len() / 2] ^= 1;
    assert_eq!(refused(&changed), WeightsError::Changed);
    let model = Features::load_from(&file).unwrap();
    for threads in [Threads::new(0), Threads::exactly(99_999)] {
        assert!(matches!(model.session(threads).run_named(&inputs), Err(RunError::Threads(_))));
    }
    assert!(model.session(Threads::new(99_999)).threads() < 1024);
}
"#;

/// A program without the standard library: were a part of it linked, there would be two panic handlers. It says by its
/// exit code what went wrong.
const WITHOUT_STD: &str = r#"#![no_std]
#![no_main]

use core::ffi::{c_char, c_int};

use emitted_features::{AvailableTarget, FeaturesLentSession as Session, LentError, Target};

#[repr(align(64))]
struct Weights([u8; Session::WEIGHTS_BYTES]);

static WEIGHTS: Weights = Weights(*include_bytes!("../../features/weights.bin"));

#[link(name = "c")]
unsafe extern "C" {
    fn write(file: c_int, bytes: *const u8, length: usize) -> isize;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The core library of a hosted target is compiled for unwinding and asks for this; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

fn floats<const N: usize>(bytes: &[u8]) -> [f32; N] {
    core::array::from_fn(|i| f32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]]))
}

fn put(values: &[f32]) {
    // SAFETY: the bytes of a slice.
    unsafe { write(1, values.as_ptr().cast(), size_of_val(values)) };
}

/// The only argument is a target's place in the list of all.
#[unsafe(no_mangle)]
pub extern "C" fn main(_count: c_int, arguments: *const *const c_char) -> c_int {
    // SAFETY: the test gives one argument of one digit.
    let index = unsafe { **arguments.add(1) } as usize - usize::from(b'0');
    // SAFETY: the test asks for targets that the processor has.
    let target = unsafe { AvailableTarget::assume(Target::ALL[index]) };
    let mut arena = [f32::NAN; Session::ARENA];
    let mut scratch = [f32::NAN; Session::SCRATCH];

    let cut = Session::new(target, &WEIGHTS.0[..99], &mut arena, &mut scratch).err();
    if !matches!(cut, Some(LentError::Weights(_))) {
        return 10;
    }
    let short = Session::new(target, &WEIGHTS.0, &mut arena[..1], &mut scratch).err();
    if !matches!(short, Some(LentError::Arena { given: 1, .. })) {
        return 11;
    }
    let Some(portable) = AvailableTarget::compiled_in(Target::Portable) else { return 12 };
    if Session::new(portable, &WEIGHTS.0, &mut arena, &mut scratch).err() != Some(LentError::NotBuilt { target: Target::Portable }) {
        return 13;
    }
    if AvailableTarget::compiled_in(Target::Base).is_none() {
        return 14;
    }

    let Ok(mut session) = Session::new(target, &WEIGHTS.0, &mut arena, &mut scratch) else { return 20 };
    let image: [f32; 378] = floats(include_bytes!("../../features/image.bin"));
    let double: [f32; 10] = floats(include_bytes!("../../features/double.bin"));
    let (mut classes, mut pooled) = ([0.0; 14], [0.0; 480]);
    if session.run(&image[1..], &double, &mut classes, &mut pooled).is_ok() {
        return 21;
    }
    if session.run(&image, &double, &mut classes, &mut pooled).is_err() || session.target() != target.target() {
        return 22;
    }
    put(&classes);
    put(&pooled);
    0
}
"#;

const WITHOUT_STD_MANIFEST: &str = r#"[package]
name = "emitted-without-std"
edition = "2024"

[workspace]

[dependencies]
emitted-features = { path = "../features", default-features = false }

[profile.dev]
panic = "abort"

[profile.release]
panic = "abort"
"#;

/// Takes a target and the files of the inputs; writes the outputs, after all calls that must fail.
const FROM_C: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "emitted_features.h"

static float image[EMITTED_FEATURES_IMAGE_LEN + 1], input[EMITTED_FEATURES_DOUBLE_1_LEN];
static float classes[EMITTED_FEATURES_CLASSES_LEN], pooled[EMITTED_FEATURES_POOLED_LEN];
static const size_t shape[EMITTED_FEATURES_IMAGE_RANK] = EMITTED_FEATURES_IMAGE_SHAPE;
static unsigned char weights[EMITTED_FEATURES_WEIGHTS_BYTES + 1];

#define SAYS(words) (strstr(emitted_features_last_error(), words) != NULL)
#define CHECK(condition) \
    if (!(condition)) { \
        fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, emitted_features_last_error()); \
        return 1; \
    }

static size_t read_file(const char *path, void *place, size_t bytes) {
    FILE *file = fopen(path, "rb");
    size_t found = file ? fread(place, 1, bytes, file) : 0;
    if (file) fclose(file);
    return found;
}

static int run(emitted_features_session_t *session, const float *image_at, size_t image_len, float *classes_at) {
    return emitted_features_run(session, image_at, image_len, input, EMITTED_FEATURES_DOUBLE_1_LEN, classes_at,
                                EMITTED_FEATURES_CLASSES_LEN, pooled, EMITTED_FEATURES_POOLED_LEN);
}

int main(int count, char **arguments) {
    emitted_features_model_t *model = NULL, *loaded = NULL;
    emitted_features_session_t *session = NULL;
    size_t len = EMITTED_FEATURES_IMAGE_LEN;
    CHECK(count == 2 && shape[0] * shape[1] * shape[2] * shape[3] == len);
    CHECK(read_file("image.bin", image, sizeof image) == 4 * len);
    CHECK(read_file("double.bin", input, sizeof input) == sizeof input);
    CHECK(read_file("weights.bin", weights, sizeof weights) == EMITTED_FEATURES_WEIGHTS_BYTES);

    CHECK(strcmp(emitted_features_last_error(), "") == 0);
    CHECK(emitted_features_load("avx", &model) == EMITTED_FEATURES_TARGET && model == NULL && SAYS("no target `avx`"));
    CHECK(emitted_features_load("portable", &model) == EMITTED_FEATURES_TARGET && SAYS("without the target portable"));
    CHECK(emitted_features_load(NULL, NULL) == EMITTED_FEATURES_POINTER && SAYS("`model` is null"));
    CHECK(emitted_features_load_from(NULL, 0, NULL, &model) == EMITTED_FEATURES_POINTER && SAYS("`weights` is null"));
    CHECK(emitted_features_load_from(weights, 100, NULL, &model) == EMITTED_FEATURES_WEIGHTS && SAYS("is cut: 100 bytes"));
    CHECK(emitted_features_load_from(weights, sizeof weights, NULL, &model) == EMITTED_FEATURES_WEIGHTS && SAYS("too long"));
    weights[200] ^= 1;
    CHECK(emitted_features_load_from(weights, sizeof weights - 1, NULL, &model) == EMITTED_FEATURES_WEIGHTS);
    CHECK(model == NULL && SAYS("damaged"));
    weights[200] ^= 1;

    CHECK(emitted_features_load(NULL, &model) == EMITTED_FEATURES_OK && model != NULL);
    emitted_features_free(model);
    CHECK(emitted_features_load(arguments[1], &model) == EMITTED_FEATURES_OK);
    CHECK(emitted_features_load_from(weights, sizeof weights - 1, arguments[1], &loaded) == EMITTED_FEATURES_OK);
    CHECK(strcmp(emitted_features_target(model), arguments[1]) == 0 && emitted_features_target(NULL) == NULL);
    CHECK(emitted_features_session(NULL, 1, &session) == EMITTED_FEATURES_POINTER && session == NULL && SAYS("`model`"));
    CHECK(emitted_features_session(model, 1, NULL) == EMITTED_FEATURES_POINTER && SAYS("`session` is null"));
    CHECK(emitted_features_session(model, 2, &session) == EMITTED_FEATURES_OK);
    emitted_features_free(model);

    CHECK(run(NULL, image, len, classes) == EMITTED_FEATURES_POINTER && SAYS("`session` is null"));
    CHECK(run(session, NULL, len, classes) == EMITTED_FEATURES_POINTER && SAYS("`image` is null"));
    CHECK(run(session, image, len, NULL) == EMITTED_FEATURES_POINTER && SAYS("`classes` is null"));
    CHECK(run(session, image, len - 1, classes) == EMITTED_FEATURES_LENGTH && SAYS("378 elements, but 377 were given"));
    CHECK(run(session, (const float *)((const char *)image + 1), len, classes) == EMITTED_FEATURES_POINTER && SAYS("aligned"));
    CHECK(run(session, image, len, image + 364) == EMITTED_FEATURES_POINTER && SAYS("`image` and `classes` overlap"));
    CHECK(run(session, image, len, pooled + 479) == EMITTED_FEATURES_POINTER && SAYS("`classes` and `pooled` overlap"));
    CHECK(classes[0] == 0 && pooled[479] == 0);

    CHECK(run(session, image, len, classes) == EMITTED_FEATURES_OK);
    fwrite(classes, 1, sizeof classes, stdout);
    fwrite(pooled, 1, sizeof pooled, stdout);
    emitted_features_session_free(session);
    CHECK(emitted_features_session(loaded, 0, &session) == EMITTED_FEATURES_THREADS && SAYS("1 to 1024 threads, but 0"));
    CHECK(emitted_features_session(loaded, 99999, &session) == EMITTED_FEATURES_THREADS && session == NULL);
    CHECK(emitted_features_session(loaded, 1, &session) == EMITTED_FEATURES_OK);
    CHECK(run(session, image, len, classes) == EMITTED_FEATURES_OK);
    fwrite(classes, 1, sizeof classes, stdout);
    fwrite(pooled, 1, sizeof pooled, stdout);
    emitted_features_session_free(session);
    emitted_features_free(loaded);
    emitted_features_session_free(NULL);
    emitted_features_free(NULL);
    return 0;
}
"#;

/// The same on lent memory, with a library that has nothing of the system; the memory starts at any address.
const FROM_C_LENT: &str = r#"
#include <stdio.h>
#include <string.h>
#include "emitted_features.h"

static float image[EMITTED_FEATURES_IMAGE_LEN], input[EMITTED_FEATURES_DOUBLE_1_LEN];
static float classes[EMITTED_FEATURES_CLASSES_LEN], pooled[EMITTED_FEATURES_POOLED_LEN];
static unsigned char memory[EMITTED_FEATURES_LENT_BYTES + 64];
static union { double align; unsigned char bytes[EMITTED_FEATURES_WEIGHTS_BYTES + 8]; } weights;

#define CHECK(condition) \
    if (!(condition)) { \
        fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
        return 1; \
    }

static size_t read_file(const char *path, void *place, size_t bytes) {
    FILE *file = fopen(path, "rb");
    size_t found = file ? fread(place, 1, bytes, file) : 0;
    if (file) fclose(file);
    return found;
}

static int run(emitted_features_lent_t *session, const float *image_at, size_t image_len, float *classes_at) {
    return emitted_features_lent_run(session, image_at, image_len, input, EMITTED_FEATURES_DOUBLE_1_LEN, classes_at,
                                     EMITTED_FEATURES_CLASSES_LEN, pooled, EMITTED_FEATURES_POOLED_LEN);
}

int main(int count, char **arguments) {
    emitted_features_lent_t *session = NULL;
    size_t len = EMITTED_FEATURES_IMAGE_LEN, bytes = EMITTED_FEATURES_LENT_BYTES, offset;
    CHECK(count == 2);
    CHECK(read_file("image.bin", image, sizeof image) == sizeof image);
    CHECK(read_file("double.bin", input, sizeof input) == sizeof input);
    CHECK(read_file("weights.bin", weights.bytes, sizeof weights) == EMITTED_FEATURES_WEIGHTS_BYTES);

    CHECK(emitted_features_lent(memory, bytes, "avx", &session) == EMITTED_FEATURES_TARGET && session == NULL);
    CHECK(emitted_features_lent(memory, bytes, "portable", &session) == EMITTED_FEATURES_TARGET);
    CHECK(emitted_features_lent(NULL, bytes, NULL, &session) == EMITTED_FEATURES_POINTER);
    CHECK(emitted_features_lent(memory, bytes, NULL, NULL) == EMITTED_FEATURES_POINTER);
    CHECK(emitted_features_lent(memory, 200, NULL, &session) == EMITTED_FEATURES_MEMORY && session == NULL);
    CHECK(emitted_features_lent_from(memory, bytes, NULL, 0, NULL, &session) == EMITTED_FEATURES_POINTER);
    CHECK(emitted_features_lent_from(memory, bytes, weights.bytes, 100, NULL, &session) == EMITTED_FEATURES_WEIGHTS);
    CHECK(run(NULL, image, len, classes) == EMITTED_FEATURES_POINTER);

    for (offset = 0; offset < 64; offset += 7) {
        memset(memory, 0xff, sizeof memory);
        CHECK(emitted_features_lent(memory + offset, bytes, NULL, &session) == EMITTED_FEATURES_OK && session != NULL);
        CHECK(emitted_features_lent(memory + offset, bytes, arguments[1], &session) == EMITTED_FEATURES_OK);
        CHECK(run(session, NULL, len, classes) == EMITTED_FEATURES_POINTER);
        CHECK(run(session, image, len - 1, classes) == EMITTED_FEATURES_LENGTH);
        CHECK(run(session, image, len, image + 364) == EMITTED_FEATURES_POINTER);
        memset(classes, 0, sizeof classes);
        CHECK(run(session, image, len, classes) == EMITTED_FEATURES_OK);
        CHECK(memory[offset + bytes] == 0xff);
    }
    fwrite(classes, 1, sizeof classes, stdout);
    fwrite(pooled, 1, sizeof pooled, stdout);
    CHECK(emitted_features_lent_from(memory, bytes, weights.bytes, EMITTED_FEATURES_WEIGHTS_BYTES, arguments[1], &session)
          == EMITTED_FEATURES_OK);
    CHECK(run(session, image, len, classes) == EMITTED_FEATURES_OK);
    fwrite(classes, 1, sizeof classes, stdout);
    fwrite(pooled, 1, sizeof pooled, stdout);
    return 0;
}
"#;

/// The text of a fenced block of a README.
fn blocks<'a>(readme: &'a str, language: &str) -> Vec<&'a str> {
    let opens = format!("```{language}\n");
    readme.split(&opens).skip(1).map(|rest| rest.split_once("\n```").expect("its end").0).collect()
}

/// The libraries of the system that threads need.
const SYSTEM: [&str; 3] = ["-lpthread", "-ldl", "-lm"];

fn compile_c(folder: &Path, source: &str, name: &str, library: &[&str]) -> PathBuf {
    let (file, program) = (folder.join(format!("{name}.c")), folder.join(name));
    std::fs::write(&file, format!("{source}\n")).expect("a file");
    let mut command = Command::new("cc");
    command.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Iinclude"]).arg(&file).args(library);
    run(command.arg("-o").arg(&program).current_dir(folder));
    program
}

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn a_crate_gives_the_same_bits_with_threads_without_a_system_and_from_c() {
    let _one = crates::lock();
    let folder = write_crate("features");
    let artifacts = crates::target_folder().join("release");
    let names: Vec<&str> = available().map(Target::name).collect();
    let answer = |target: Target| std::fs::read(folder.join(format!("{target}.bin"))).expect("an answer");

    std::fs::write(folder.join("examples/with_std.rs"), WITH_STD).expect("a file");
    crates::cargo(&folder, &["build", "--release", "--example", "with_std"]);
    run(Command::new(artifacts.join("examples/with_std")).args(&names).current_dir(&folder));
    assert!(available().all(|target| answer(target).len() == 4 * (14 + 480)));

    let without = folder.with_file_name("features_without_std");
    std::fs::create_dir_all(without.join("src")).expect("a folder");
    std::fs::write(without.join("Cargo.toml"), WITHOUT_STD_MANIFEST).expect("a file");
    std::fs::write(without.join("src/main.rs"), WITHOUT_STD).expect("a file");
    crates::cargo(&without, &["build", "--release"]);
    for target in available() {
        let index = Target::ALL.iter().position(|&other| other == target).expect("a target");
        let output = run(Command::new(artifacts.join("emitted-without-std")).arg(index.to_string()));
        assert!(output.stdout == answer(target), "without a system on {target}: other bits");
    }

    crates::cargo(&folder, &["rustc", "--lib", "--release", "--features", "capi", "--crate-type", "staticlib,cdylib"]);
    let library = artifacts.join("libemitted_features.a").display().to_string();
    let program = compile_c(&folder, FROM_C, "from_c", &[&[library.as_str()], &SYSTEM[..]].concat());
    for target in available() {
        let output = run(Command::new(&program).arg(target.name()).current_dir(&folder));
        assert!(output.stdout == answer(target).repeat(2), "from C on {target}: other bits");
    }

    // What the README shows, with the shared library; the header in C++, where there is a compiler for it.
    let readme = std::fs::read_to_string(folder.join("README.md")).expect("a file");
    let shared = [format!("-L{}", artifacts.display()), "-l:libemitted_features.so".to_owned()];
    let [example, lent_example] = blocks(&readme, "c")[..] else { panic!("two programs in C: {readme}") };
    let program = compile_c(&folder, example, "readme", &[&[&*shared[0], &*shared[1]], &SYSTEM[..]].concat());
    let output = run(Command::new(program).env("LD_LIBRARY_PATH", &artifacts));
    assert!(String::from_utf8_lossy(&output.stdout).trim().parse::<f32>().is_ok_and(|class| class > 0.0));
    if Command::new("c++").arg("--version").output().is_ok_and(|output| output.status.success()) {
        let header = folder.join("include/emitted_features.h");
        run(Command::new("c++").args(["-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c++"]).arg(header));
    }

    // A library of its own for C: nothing of the standard library is in it.
    let features = ["--no-default-features", "--features", "embed,panic-handler"];
    let arguments =
        [&["rustc", "--lib", "--release"], &features[..], &["--crate-type", "staticlib", "--", "-C", "panic=abort"]]
            .concat();
    crates::cargo(&folder, &arguments);
    let program = compile_c(&folder, FROM_C_LENT, "from_c_lent", &[&library]);
    for target in available() {
        let output = run(Command::new(&program).arg(target.name()).current_dir(&folder));
        assert!(output.stdout == answer(target).repeat(2), "from C on lent memory, on {target}: other bits");
    }
    compile_c(&folder, &format!("{lent_example}\nint main(void) {{ return infer(); }}"), "readme_lent", &[&library]);
    run(&mut Command::new(folder.join("readme_lent")));
}

#[test]
fn every_set_of_features_compiles_without_warnings_and_the_readme_with_them() {
    let _one = crates::lock();
    let folder = write_crate("feature_sets");
    for features in ["", "embed", "std", "capi", "panic-handler", "std,capi", "std,embed,panic-handler"] {
        crates::cargo(&folder, &["check", "--release", "--lib", "--no-default-features", "--features", features]);
    }
    crates::cargo(&folder, &["clippy", "--release", "--all-targets", "--all-features"]);
    run(Command::new(env!("CARGO")).args(["fmt", "--check"]).current_dir(&folder));
    let printed = crates::cargo(&folder, &["test", "--release", "--doc"]);
    assert!(printed.contains("2 passed"), "{printed}");
    let readme = std::fs::read_to_string(folder.join("README.md")).expect("a file");
    let screen: String = readme.lines().take(12).collect();
    assert!(screen.contains("Shapes are static") && screen.contains("--set 'image=[8, 3, 9, 7]'"), "{screen}");
}

#[test]
fn on_an_architecture_without_kernels_one_error_says_what_to_do() {
    let _one = crates::lock();
    let other = if cfg!(target_arch = "x86_64") { Target::Neon } else { Target::Avx2 };
    let folder = crates::write("elsewhere", &network(&[other]), &SOURCE);
    for features in [&["--no-default-features"][..], &["--features", "capi"]] {
        let output = Command::new(env!("CARGO"))
            .args(["check", "--offline", "--color=never"])
            .args(features)
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", crates::target_folder())
            .output()
            .expect("cargo runs");
        let shown = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && !shown.contains("warning"), "{shown}");
        let errors: Vec<&str> = shown.lines().filter(|line| line.starts_with("error")).collect();
        let alone = format!("error: this network was compiled for {} alone", other.architecture().expect("its own"));
        assert!(errors.len() == 2 && errors[1].contains("due to 1 previous error"), "{shown}");
        assert!(errors[0].starts_with(&alone) && errors[0].contains("`kiln build … --target portable`"), "{shown}");
    }
}

#[test]
fn networks_without_weights_and_without_steps_compile_without_warnings() {
    let _one = crates::lock();
    for (name, result) in [("no_weights", "x.relu()"), ("no_steps", "x"), ("literal", "x + 1.0")] {
        let net = format!("pub net Bare(x: [1, 3, 4, 4]) {{ {result} }}");
        let bare = compile(elaborated(name, &net, &[]), &Options::default()).unwrap_or_else(|error| panic!("{error}"));
        let folder = crates::write(name, &bare, &SOURCE);
        for features in ["", "embed", "std,embed,capi"] {
            let arguments = ["--release", "--all-targets", "--no-default-features", "--features", features];
            crates::cargo(&folder, &[&["check"], &arguments[..]].concat());
        }
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_crate_has_the_code_of_its_own_targets_alone() {
    let _one = crates::lock();
    const VECTORS: [(Target, &str); 3] = [(Target::Avx512, "%zmm"), (Target::Avx2, "%ymm"), (Target::Base, "mulps")];
    for targets in [&[Target::Avx2][..], &[Target::Base], &[Target::Avx512, Target::Base]] {
        let names: Vec<&str> = targets.iter().map(|target| target.name()).collect();
        let name = format!("only_{}", names.join("_"));
        let folder = crates::write(&name, &network(targets), &SOURCE);
        for other in Target::ALL.into_iter().filter(|target| !targets.contains(target)) {
            let left =
                [format!("src/rt/simd/{other}.rs"), format!("src/kernels/{other}"), format!("src/plan/{other}.rs")];
            assert!(left.iter().all(|path| !folder.join(path).exists()), "{name}: {other}");
        }
        let assembly = folder.join("assembly.s");
        let emit = format!("asm={}", assembly.display());
        crates::cargo(
            &folder,
            &["rustc", "--lib", "--release", "--features", "capi", "--", "--emit", &emit, "-C", "codegen-units=1"],
        );
        let text = std::fs::read_to_string(assembly).expect("assembly");
        // Registers of AVX2 serve AVX-512 too, and instructions of SSE2 other code: each must be there for its target, and
        // those that are wider than the widest target must not.
        for (index, (target, register)) in VECTORS.into_iter().enumerate() {
            if targets.contains(&target) {
                assert!(text.contains(register), "{name}: nothing of {target}");
            } else if VECTORS[..index].iter().all(|(wider, _)| !targets.contains(wider)) {
                assert!(!text.contains(register), "{name}: code of {target}");
            }
            let symbol = format!("kernels{}{target}", target.name().len());
            assert_eq!(text.contains(&symbol), targets.contains(&target), "{name}: symbols of {target}");
        }
    }
}
