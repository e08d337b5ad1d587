// __HEADER__
//! The network on a stored input, against the stored answer of kiln's reference interpreter: within __TOLERANCE__ of the
//! largest number, on every target that this processor has, and with the same bits for any number of threads.

use __CRATE__::{DType, Elements, LoadError, Target, Threads};

type Network = __CRATE__::__MODEL__;

fn numbers(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn answer(model: &Network, threads: usize) -> Vec<f32> {
    let stored = numbers(include_bytes!("golden_input.bin"));
    let mut rest = stored.as_slice();
    let mut inputs = Vec::new();
    for info in Network::INPUTS {
        let (input, after) = rest.split_at(info.len());
        inputs.push((info.name, info.dtype, input, integers(input)));
        rest = after;
    }
    let bytes: Vec<(Vec<i8>, Vec<u8>)> = inputs.iter().map(|(.., of)| of.iter().map(|&v| (v as i8, v as u8)).unzip()).collect();
    let given = inputs.iter().zip(&bytes).map(|((name, dtype, floats, integers), (signed, unsigned))| {
        let elements = match dtype {
            DType::F32 => Elements::F32(floats),
            DType::I32 => Elements::I32(integers),
            DType::I8 => Elements::I8(signed),
            DType::U8 => Elements::U8(unsigned),
        };
        (*name, elements)
    });
    let mut session = model.session(Threads::exactly(threads));
    session.run_elements(&given.collect::<Vec<_>>()).unwrap();
    let outputs = Network::OUTPUTS.iter().map(|info| match session.elements(info.name).unwrap() {
        Elements::F32(output) => output.to_vec(),
        Elements::I32(output) => output.iter().map(|&v| v as f32).collect(),
        Elements::I8(output) => output.iter().map(|&v| v.into()).collect(),
        Elements::U8(output) => output.iter().map(|&v| v.into()).collect(),
    });
    outputs.flatten().collect()
}

fn integers(numbers: &[f32]) -> Vec<i32> {
    numbers.iter().map(|&v| v as i32).collect()
}

#[test]
fn the_answer_is_the_stored_one() {
    let expected = numbers(include_bytes!("golden_output.bin"));
    let largest = expected.iter().fold(0.0, |largest: f32, number| largest.max(number.abs()));
    for target in Target::ALL {
        let model = match Network::load_for(target) {
            Ok(model) => model,
            Err(LoadError::NotAvailable { .. } | LoadError::NotBuilt { .. }) => continue,
            Err(error) => panic!("{error}"),
        };
        let output = answer(&model, 1);
        assert_eq!(output.len(), expected.len());
        for (index, (number, expected)) in output.iter().zip(&expected).enumerate() {
            let error = (number - expected).abs() / largest;
            assert!(error <= __TOLERANCE__, "{target}: number {index} is {number}, but should be {expected}");
        }
        let bits = |numbers: Vec<f32>| numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        assert_eq!(bits(answer(&model, 2)), bits(output), "{target}: two threads give other bits than one");
    }
}
