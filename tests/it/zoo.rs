//! The zoo against the frameworks that its networks come from: weight names, counts, logits.

use kiln_compiler::front::zoo::variants;
use kiln_compiler::graph::{interp, text};
use kiln_compiler::kernel::stats::stats;
use kiln_compiler::pipeline::{self, Options, compile};
use kiln_compiler::target::Target;
use kiln_rt::weights::FillSource;

use crate::crates::Built;
use crate::golden::{Golden, LIGHT_NETS, NETS, hold_against, macs, parameters, zoo};
use crate::oracle::{error, inputs};

#[test]
fn weight_names_and_counts_are_the_framework_s() {
    NETS.into_iter().for_each(|net| hold_against(&zoo(net, &[]), &Golden::read(net), net));
}

/// `tests/data/counts.json` says where each number is from.
#[test]
fn every_network_counts_as_its_source_says() {
    let text = std::fs::read_to_string(format!("{}/tests/data/counts.json", env!("CARGO_MANIFEST_DIR")));
    let mut counts: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&text.expect("the counts")).expect("JSON");
    for (_, variant) in variants() {
        let expected = counts.remove(variant.name).unwrap_or_else(|| panic!("no count of {}", variant.name));
        let graph = zoo(variant.name, &[]);
        let keras = variant.source.starts_with("keras/");
        assert_eq!(Some(parameters(&graph, keras)), expected["parameters"].as_u64(), "{}", variant.name);
        assert_eq!(expected["macs"].as_u64().unwrap_or(macs(&graph)), macs(&graph), "{}", variant.name);
        assert!(expected["source"].as_str().is_some_and(|source| !source.is_empty()), "{}", variant.name);
    }
    assert!(counts.is_empty(), "not in the zoo: {:?}", counts.keys());
}

/// Concatenation, slices and shuffles of channels cost nothing in the networks that are made of them.
#[test]
fn no_byte_is_moved_between_layouts() {
    const FAMILIES: [&str; 12] = [
        "shufflenet_v1",
        "shufflenet_v2",
        "densenet",
        "googlenet",
        "bn_inception",
        "inception_v3",
        "inception_v4",
        "inception_resnet_v1",
        "inception_resnet_v2",
        "keras_inception_resnet_v2",
        "squeezenet",
        "ghostnet",
    ];
    for family in FAMILIES {
        let variants: Vec<_> = variants().filter(|(of, _)| of.name == family).collect();
        assert!(!variants.is_empty(), "{family}");
        for (_, variant) in variants {
            let options = Options { targets: vec![Target::Avx512], ..Options::default() };
            let compiled = compile(zoo(variant.name, &[]), &options).expect("it compiles");
            let stats = stats(&compiled.programs[0]);
            assert_eq!((stats.relayouts, stats.relayout_bytes), (0, 0), "{}: {:?}", variant.name, stats.steps);
        }
    }
}

#[test]
fn the_oracle_gives_the_framework_s_logits() {
    for net in LIGHT_NETS {
        let (graph, golden) = (zoo(net, &[]), Golden::read(net));
        let source = FillSource { gain: golden.gain };
        let printed = text::print(&graph);
        let parsed = text::parse(&printed).expect("a printed graph parses");
        assert_eq!(text::print(&parsed), printed);
        let found = interp::run_f32(&parsed, &source, &inputs(&graph)).expect("it runs");
        // Values are rounded to f32 between nodes; the golden logits are all f64.
        let error = error(&found[0], &golden.output);
        assert!(error <= 2e-6, "{net}: error {error:e}");
    }
}

#[test]
fn crates_give_the_framework_s_logits_with_the_same_bits_for_any_number_of_threads() {
    LIGHT_NETS.into_iter().for_each(hold_crate_against_golden);
}

#[test]
fn the_crate_of_resnet50_gives_the_framework_s_logits() {
    hold_crate_against_golden("resnet50");
}

#[test]
fn the_crate_of_vgg16_gives_the_framework_s_logits() {
    hold_crate_against_golden("vgg16");
}

/// Each target that the processor has, with 1, 2, 3 and 5 threads; the arena beside its lower bound.
fn hold_crate_against_golden(net: &str) {
    let (graph, golden) = (zoo(net, &[]), Golden::read(net));
    let inputs = inputs(&graph);
    let compiled = compile(graph, &Options::default()).unwrap_or_else(|error| panic!("{net}: {error}"));
    for program in &compiled.programs {
        let ratio = program.arena as f64 / program.arena_lower_bound as f64;
        assert!(ratio <= 1.05, "{net}: the arena is {ratio} of the lower bound");
    }
    let built = Built::new(net, &compiled, &FillSource { gain: golden.gain });
    let mut with_fma: Option<Vec<u32>> = None;
    for target in built.available_targets() {
        let once = built.run(&inputs, target, 1);
        let error = error(&once, &golden.output);
        assert!(error <= 1e-5, "{net} on {target}: error {error:e}");
        let bits: Vec<u32> = once.iter().map(|v| v.to_bits()).collect();
        for threads in [2, 3, 5] {
            let again: Vec<u32> = built.run(&inputs, target, threads).iter().map(|v| v.to_bits()).collect();
            assert!(bits == again, "{net} on {target}: {threads} threads give other bits than one");
        }
        if target.has_fma() {
            assert!(with_fma.get_or_insert(bits.clone()) == &bits, "{net}: {target} gives other bits");
        }
    }
}

#[test]
fn a_nan_pixel_gives_nan_logits() {
    let graph = zoo("mobilenet_v2", &["image=[1, 3, 32, 32]"]);
    let mut inputs = inputs(&graph);
    inputs[0][517] = f32::NAN;
    let compiled = compile(graph, &Options::default()).expect("it compiles");
    let built = Built::new("nan", &compiled, &FillSource { gain: 4.0 });
    for target in built.available_targets() {
        assert!(built.run(&inputs, target, 1).iter().all(|logit| logit.is_nan()), "{target}");
    }
}

#[test]
fn odd_inputs_and_batches_answer_as_the_oracle_does() {
    for (net, image) in [
        ("tf_efficientnet_lite0", "image=[1, 3, 97, 131]"),
        ("resnet18", "image=[3, 3, 65, 49]"),
        ("lenet5", "image=[3, 1, 37, 45]"),
        ("shufflenet_v1_g3", "image=[2, 3, 75, 93]"),
        ("shufflenet_v1_g8", "image=[1, 3, 61, 67]"),
        ("bninception", "image=[1, 3, 65, 97]"),
        ("inception_resnet_v1", "image=[1, 3, 91, 83]"),
        ("seresnext50_32x4d", "image=[1, 3, 67, 45]"),
        ("separable_densenet121", "image=[1, 3, 69, 83]"),
    ] {
        let graph = zoo(net, &[image]);
        let (inputs, source) = (inputs(&graph), FillSource { gain: 4.0 });
        let expected = interp::run_f32(&graph, &source, &inputs).expect("it runs").swap_remove(0);
        let compiled = compile(graph, &Options::default()).expect("it compiles");
        let built = Built::new(&format!("odd_{net}"), &compiled, &source);
        for target in built.available_targets() {
            let error = error(&built.run(&inputs, target, 2), &expected);
            assert!(error <= 1e-5, "{net} {image} on {target}: error {error:e}");
        }
    }
}

#[test]
fn every_network_has_a_batch_of_any_size() {
    for net in NETS {
        let batches = |set: &[&str]| -> Vec<usize> {
            let graph = zoo(net, set);
            let inputs = graph.inputs().iter().copied();
            let outputs = graph.outputs().iter().map(|output| output.node);
            inputs.chain(outputs).map(|id| graph.node(id).ty.shape[0]).collect()
        };
        assert_eq!(batches(&[]), [1, 1], "{net}");
        assert_eq!(batches(&["n=3"]), [3, 3], "{net}");
    }
}

/// On the best target: each image alone, then all as one batch.
#[test]
fn a_batch_of_eight_gives_the_bits_of_eight_single_runs_for_any_number_of_threads() {
    let target = Target::detect();
    for net in ["mobilenet_v2", "resnet18", "tf_efficientnet_lite0"] {
        let options = Options { targets: vec![target], ..Options::default() };
        let compiled = |set: &[&str]| compile(zoo(net, set), &options).unwrap_or_else(|error| panic!("{net}: {error}"));
        let (one, eight) = (compiled(&[]), compiled(&["n=8"]));
        let units = |compiled: &pipeline::Compiled| -> Vec<usize> {
            let program = &compiled.programs[0];
            program.steps.iter().map(|step| program.kernel(step).units).collect()
        };
        // Units go over the images, or over groups of channels with all images in each of them.
        let (of_one, of_eight) = (units(&one), units(&eight));
        assert!(of_eight.iter().all(|&units| units >= 4), "{net}: {of_eight:?} units");
        assert!(of_eight.iter().sum::<usize>() >= 6 * of_one.iter().sum::<usize>(), "{net}: {of_one:?}, {of_eight:?}");
        let source = FillSource { gain: Golden::read(net).gain };
        let batch = inputs(&eight.source).swap_remove(0);
        let single = Built::new(&format!("one_{net}"), &one, &source);
        let images = batch.chunks_exact(batch.len() / 8);
        let expected: Vec<u32> =
            images.flat_map(|image| single.run(&[image.to_vec()], target, 1)).map(f32::to_bits).collect();
        assert!(
            expected.chunks_exact(1000).collect::<std::collections::BTreeSet<_>>().len() == 8,
            "{net}: equal images"
        );
        let built = Built::new(&format!("eight_{net}"), &eight, &source);
        for threads in [1, 2, 3] {
            let found: Vec<u32> =
                built.run(std::slice::from_ref(&batch), target, threads).into_iter().map(f32::to_bits).collect();
            assert!(found == expected, "{net}: a batch on {threads} threads gives other bits than single runs");
        }
    }
}

/// A program that gives up all system calls but `exit` before it runs the network a second time: any other kills it.
const SEALED: &str = r#"
use std::arch::asm;

fn main() {
    let model = emitted_sealed::MobileNetV2::load().unwrap();
    let mut session = model.session(emitted_sealed::Threads::new(1));
    let image = vec![0.5; emitted_sealed::MobileNetV2::INPUTS[0].len()];
    let first = session.run(&image).unwrap()[0];
    // SAFETY: prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) and exit touch no memory.
    unsafe {
        asm!("syscall", inlateout("rax") 157usize => _, in("rdi") 22, in("rsi") 1, in("rdx") 0, in("r10") 0, in("r8") 0, out("rcx") _, out("r11") _);
    }
    let again = session.run(&image).map_or(f32::NAN, |logits| logits[0]);
    let code = if again == first { 0usize } else { 3 };
    // SAFETY: as above; the call does not return.
    unsafe { asm!("syscall", in("rax") 60usize, in("rdi") code, options(noreturn)) }
}
"#;

#[test]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn an_inference_on_one_thread_enters_no_system_call() {
    let compiled = compile(zoo("mobilenet_v2", &["image=[1, 3, 64, 64]"]), &Options::default()).expect("it compiles");
    let status = crate::crates::run_example("sealed", &compiled, &FillSource { gain: 4.0 }, SEALED);
    assert_eq!(status.code(), Some(0), "{status}");
}
