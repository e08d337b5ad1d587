//! A network written by hand: out = 2 · (a + weight), sum over the elements, in units of one element.

use super::super::lent::{LentError, LentSession};
use super::super::plan::{Context, Step, Waits};
use super::super::session::{RunError, ThreadsError};
use super::super::target::AvailableTarget;
use super::super::tensor::{DType, Elements, TensorInfo};
use super::super::weights_file::{Span, WeightsLayout, file_bytes};
use super::super::weights_writer::write;
use super::*;

const LEN: usize = 37;
const SPANS: &[Span] = &[Span { offset: 0, len: LEN }];
const LAYOUT: WeightsLayout = WeightsLayout { hash: 1, bytes: file_bytes(SPANS), content_hash: None, tensors: SPANS };
const IMAGE: TensorInfo = TensorInfo { name: "image", dtype: DType::F32, shape: &[1, LEN] };

/// # Safety
/// The contract of a step: units below `LEN`.
#[allow(unsafe_code, reason = "a kernel")]
unsafe fn add(context: &Context<'_>, lo: usize, hi: usize) {
    for i in lo..hi {
        // SAFETY: i < LEN, the length of the input, of the weights and of the arena.
        unsafe { *context.arena().add(i) = *context.input(0).add(i) + *context.weights().add(i) }
    }
}

/// # Safety
/// As `add`.
#[allow(unsafe_code, reason = "a kernel")]
unsafe fn double(context: &Context<'_>, lo: usize, hi: usize) {
    for i in lo..hi {
        // SAFETY: i < LEN, the length of the arena and of the output.
        unsafe { *context.output(0).add(i) = 2.0 * *context.arena().add(i) }
    }
}

/// # Safety
/// As `add`, with one unit; reads what `add` wrote.
#[allow(unsafe_code, reason = "a kernel")]
unsafe fn sum(context: &Context<'_>, _lo: usize, _hi: usize) {
    // SAFETY: i < LEN, the length of the arena; one element of scratch and of the second output.
    unsafe {
        *context.scratch() = 0.0;
        for i in 0..LEN {
            *context.scratch() += *context.arena().add(i);
        }
        *context.output(1) = *context.scratch();
    }
}

const STEPS: &[Step] = &[
    Step { name: "add", run: add, units: LEN, waits: Waits::Barrier },
    Step { name: "double", run: double, units: LEN, waits: Waits::OwnUnits },
    Step { name: "sum", run: sum, units: 1, waits: Waits::Barrier },
];

#[allow(unsafe_code, reason = "the promise about the kernels above")]
// SAFETY: the kernels stay within LEN elements, LEN units write one element each, `sum` waits for `add`.
static NETWORK: Network = unsafe {
    Network::new(
        "example",
        &[IMAGE],
        &[
            TensorInfo { name: "doubled", dtype: DType::F32, shape: &[1, LEN] },
            TensorInfo { name: "sum", dtype: DType::F32, shape: &[1] },
        ],
        &[Plan { target: Target::Portable, arena: LEN, scratch: 1, steps: STEPS }],
        LAYOUT,
    )
};

fn model() -> Model {
    let weights: Vec<f32> = (0..LEN).map(|i| i as f32).collect();
    Model::from_packed(&NETWORK, &write(1, &[&weights]), None).unwrap()
}

#[test]
fn any_number_of_threads_gives_the_same() {
    let input: Vec<f32> = (0..LEN).map(|i| 1.0 - 0.25 * i as f32).collect();
    let expected: Vec<f32> = (0..LEN).map(|i| 2.0 * (input[i] + i as f32)).collect();
    for threads in [1, 2, 3, 5, 50] {
        let mut session = model().session(Threads::exactly(threads));
        assert_eq!(session.threads(), threads);
        for _ in 0..20 {
            assert_eq!(session.run(&input), Ok(expected.as_slice()));
        }
        let sum = expected.iter().map(|x| x / 2.0).sum::<f32>();
        assert_eq!(session.output("sum"), Some(Elements::F32(&[sum])));
        assert_eq!(session.output("other"), None);

        let (mut doubled, mut total) = ([0.0; LEN], [0.0]);
        session.run_into(&[Elements::F32(&input)], &mut [(&mut doubled).into(), (&mut total).into()]).unwrap();
        assert_eq!((doubled.as_slice(), total), (expected.as_slice(), [sum]));
        session.run_named(&[("image", input.as_slice())]).unwrap();
        assert_eq!(session.output("doubled"), Some(Elements::F32(&expected)));
    }
}

#[test]
fn threads_are_at_most_the_processors_unless_asked_for_exactly() {
    let processors = std::thread::available_parallelism().unwrap().get();
    for count in [1, 2, 99_999, usize::MAX] {
        assert_eq!(Threads::new(count).count(), Ok(count.min(processors).min(Threads::MOST)));
        assert_eq!(model().session(Threads::new(count)).threads(), count.min(processors));
    }
    assert_eq!(Threads::exactly(Threads::MOST).count(), Ok(Threads::MOST));
    for (threads, given) in [(Threads::new(0), 0), (Threads::exactly(0), 0), (Threads::exactly(99_999), 99_999)] {
        let mut session = model().session(threads);
        let error = RunError::Threads(ThreadsError { given });
        assert_eq!(session.ready(), Err(error.clone()));
        assert_eq!(session.run::<f32, f32>(&[0.0; LEN]), Err(error.clone()));
        assert_eq!(error.to_string(), format!("a session has 1 to 1024 threads, but {given} were asked for"));
    }
}

#[test]
fn sessions_and_models_go_between_threads() {
    fn send<T: Send>(value: T) -> T {
        value
    }
    fn sync<T: Sync>(_: &T) {}
    let model = send(model());
    sync(&model);
    let mut session = send(model.session(Threads::new(2)));
    let first = std::thread::spawn(move || session.run(&[0.0; LEN]).map(<[f32]>::to_vec)).join().unwrap();
    assert_eq!(first.unwrap()[3], 6.0);
}

#[test]
fn wrong_calls_are_named() {
    let mut session = model().session(Threads::new(1));
    let short = session.run::<f32, f32>(&[0.0; 5]).unwrap_err();
    assert_eq!(short.to_string(), "`image` has shape [1x37], 37 elements, but 5 were given");
    let input = [0.0; LEN];
    let unknown = session.run_named(&[("photo", &input)]).unwrap_err();
    assert_eq!(unknown.to_string(), "the network has no input `photo`; its inputs are image [1x37]");
    let none: &[(&str, &[f32])] = &[];
    assert_eq!(session.run_named(none), Err(RunError::MissingInput { input: IMAGE }));
    let twice = session.run_named(&[("image", &input), ("image", &input)]);
    assert_eq!(twice, Err(RunError::RepeatedInput { name: "image".to_owned() }));
    let (mut doubled, mut total) = ([0.0; LEN], [0.0; 2]);
    let given = [Elements::F32(&input)];
    let output = session.run_into(&given, &mut [(&mut doubled).into(), (&mut total).into()]).unwrap_err();
    assert_eq!(output.to_string(), "`sum` has shape [1], 1 element, but 2 were given");
    assert_eq!(session.run_into(&given, &mut []), Err(RunError::OutputCount { expected: 2, given: 0 }));
    let bytes = session.run_named(&[("image", &[0u8; LEN])]).unwrap_err();
    assert_eq!(bytes.to_string(), "`image` has elements of type f32, but u8 were given");
    let bytes = session.run::<f32, u8>(&input).unwrap_err();
    assert_eq!(bytes.to_string(), "`doubled` has elements of type f32, but u8 were given");
}

#[test]
fn loading_says_what_is_wrong() {
    let weights = write(1, &[&[0.0; LEN]]);
    let load = |weights: Weights<'_>, target| Model::from_packed(&NETWORK, weights, target).err();
    assert_eq!(load((&weights).into(), Some(Target::Portable)), None);
    let not_built = load((&weights).into(), Some(Target::Avx2)).unwrap();
    assert_eq!(not_built.to_string(), "the network was built without the target avx2; it has portable");
    let cut = load(weights[..100].into(), None).unwrap();
    assert_eq!(cut, LoadError::Weights(WeightsError::Cut { expected: LAYOUT.bytes, found: 100 }));
    assert_eq!(load(AlignedBuf::zeroed(LAYOUT.elements()).unwrap().into(), None), None);
    let elements = load(AlignedBuf::zeroed(3).unwrap().into(), None).unwrap();
    assert_eq!(elements.to_string(), "the packed weights have 3 elements, and the network takes 48");
}

#[test]
fn static_weights_are_used_in_place() {
    #[repr(align(64))]
    struct Aligned([u8; LAYOUT.bytes]);
    let file = write(1, &[&[1.5; LEN]]);
    let aligned: &'static Aligned = Box::leak(Box::new(Aligned(file.clone().try_into().unwrap())));
    let in_place = Model::from_packed(&NETWORK, Weights::Static(&aligned.0), None).unwrap();
    assert_eq!(in_place.weights().addr(), aligned.0.as_ptr().addr() + 128);

    let mut shifted = vec![0; 1];
    shifted.extend_from_slice(&file);
    let unaligned: &'static [u8] = &shifted.leak()[1..];
    let copied = Model::from_packed(&NETWORK, Weights::Static(unaligned), None).unwrap();
    assert_eq!(copied.weights().addr() % ALIGNMENT, 0);
    let mut session = copied.session(Threads::new(1));
    assert_eq!(session.run(&[0.0; LEN]), Ok([3.0_f32; LEN].as_slice()));
}

#[repr(align(64))]
struct File([u8; LAYOUT.bytes]);

fn weights_file() -> File {
    let weights: Vec<f32> = (0..LEN).map(|i| i as f32).collect();
    File(write(1, &[&weights]).try_into().unwrap())
}

#[test]
fn lent_memory_gives_the_same_as_a_session() {
    let file = weights_file();
    let portable = AvailableTarget::compiled_in(Target::Portable).unwrap();
    let input: Vec<f32> = (0..LEN).map(|i| 1.0 - 0.25 * i as f32).collect();
    // Larger memory than is needed, with what another run left in it.
    let (mut arena, mut scratch) = ([f32::NAN; LEN + 3], [f32::NAN; 2]);
    let mut lent = LentSession::new(&NETWORK, portable, &file.0, &mut arena, &mut scratch).unwrap();
    let (mut doubled, mut total) = ([0.0; LEN], [0.0]);
    for _ in 0..2 {
        lent.run([Elements::F32(&input)], [(&mut doubled).into(), (&mut total).into()]).unwrap();
        let mut session = model().session(Threads::new(1));
        assert_eq!(session.run(&input), Ok(doubled.as_slice()));
        assert_eq!(session.output("sum"), Some(Elements::F32(&total)));
    }
    assert_eq!(lent.target(), Target::Portable);
    let wrong = lent.run([Elements::F32(&input[1..])], [(&mut doubled).into(), (&mut total).into()]).unwrap_err();
    assert_eq!(wrong.to_string(), "`image` has 37 elements, but 36 were given");
    let given = [Elements::F32(&input)];
    let short = lent.run(given, [(&mut doubled).into(), (&mut [0.0; 0]).into()]);
    assert!(matches!(short, Err(LentError::Length { given: 0, .. })));
    assert!(matches!(lent.run(given, [(&mut doubled).into()]), Err(LentError::Count)));
    let integers = lent.run([Elements::I32(&[0; LEN])], [(&mut doubled).into(), (&mut total).into()]).unwrap_err();
    assert_eq!(integers.to_string(), "`image` has elements of type f32, but i32 were given");
}

#[test]
fn lent_memory_that_does_not_do_is_refused() {
    let file = weights_file();
    let error = |target: Target, file: &[u8], arena: usize, scratch: usize| {
        let target = AvailableTarget::compiled_in(target).unwrap();
        let (mut arena, mut scratch) = (vec![0.0; arena], vec![0.0; scratch]);
        LentSession::new(&NETWORK, target, file, &mut arena, &mut scratch).err()
    };
    let (portable, whole) = (Target::Portable, file.0.as_slice());
    assert_eq!(error(portable, whole, LEN, 1), None);
    assert_eq!(error(portable, whole, LEN - 1, 1), Some(LentError::Arena { needed: LEN, given: LEN - 1 }));
    assert_eq!(error(portable, whole, LEN, 0), Some(LentError::Scratch { needed: 1, given: 0 }));
    let cut = error(portable, &whole[..100], LEN, 1).unwrap();
    assert_eq!(cut, LentError::Weights(WeightsError::Cut { expected: LAYOUT.bytes, found: 100 }));
    #[repr(align(64))]
    struct Shifted([u8; LAYOUT.bytes + 64]);
    for (shift, expected) in [(1, Some(LentError::Alignment)), (2, Some(LentError::Alignment)), (4, None)] {
        let mut moved = Shifted([0; LAYOUT.bytes + 64]);
        moved.0[shift..][..whole.len()].copy_from_slice(whole);
        assert_eq!(error(portable, &moved.0[shift..][..whole.len()], LEN, 1), expected);
    }
    #[cfg(target_arch = "x86_64")]
    assert_eq!(error(Target::Base, whole, LEN, 1), Some(LentError::NotBuilt { target: Target::Base }));
}
