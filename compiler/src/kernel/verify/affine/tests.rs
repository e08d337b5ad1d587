use super::super::trace::Traces;
use super::super::{Report, bounds, flow, in_place, scope, sharing, structure};
use super::*;
use crate::kernel::text;

/// A source of small numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// A kernel of which units write scratch and read it, and write an output; often right, and often not.
fn program(random: &mut Random) -> String {
    let (rows, columns) = (1 + random.below(4), 1 + random.below(4));
    let (units, tiles) = (rows * columns, 1 + random.below(3));
    let lanes = random.of(&[16, 16, 16, 8, 1]);
    let step = random.of(&[lanes, lanes, lanes, 16, 1]);
    let column = step * random.of(&[tiles, tiles, tiles, tiles + 1, 1, 4]);
    let row = column * random.of(&[columns, columns, columns, columns + 1, 1]);
    let place = match random.below(4) {
        // Rows lie inside of columns.
        0 => format!("{}*row + {}*column + {step}*t", step * tiles, step * tiles * rows),
        _ => format!("{row}*row + {column}*column + {step}*t"),
    };
    let all = units * tiles * lanes;
    let len = match random.below(3) {
        0 => (row * rows).max(16),
        1 => (row * rows).max(all) + lanes,
        _ => all,
    };
    let range = |random: &mut Random| {
        random.of(&[
            "0..4",
            "0..4",
            "1..4",
            "0..3",
            "max(0, column - 1)..4",
            "0..min(4, column + 2)",
            "max(0, 1 - row)..min(4, 4 - column)",
            "max(row + column, 2)..row + column + 1",
        ])
    };
    let inside = random.of(&["", "", "for w in max(column, 1)..column + 1 { store s[0] lanes 16, 0.0 }"]);
    let first = format!(
        "for k in {} {{ store s[{}*k + {}] lanes {lanes}, 0.0 }}",
        range(random),
        step,
        random.of(&[0, 0, 0, step])
    );
    let second = random.below(2) * 4;
    let second = if second == 0 {
        String::new()
    } else {
        format!(
            "for m in 0..min(1, {}) {{ store s[16*m] lanes 16, 0.0 }}",
            random.of(&["1 - column", "column", "row + 1"])
        )
    };
    let read = format!(
        "for j in {} {{ for t in 0..{tiles} {{ store y[{place}] lanes {lanes}, load s[{}*j + {}] lanes {lanes} }} }}",
        random.of(&["0..1", "0..1", "0..1", "0..2"]),
        step,
        random.of(&[0, 0, step])
    );
    let guard = random.of(&["0", "0", "0", "1"]);
    format!(
        "program P target base arena 0 at_least 0 logical 0 scratch 256 buffer s: f32 256 scratch 0 \
         buffer y: f32 {len} output 0 kernel k units {units} flops 0 tile \"\" s: update f32 flat 256 \
         y: write f32 flat {len} {{ for row in 0..{rows} {{ \
         for column in max(lo - {columns}*row, {guard})..min(hi - {columns}*row, {columns}) {{ {inside} {first} {second} {read} }} }} }} \
         step k {{ s: s y: y }}"
    )
}

/// What is proved by the text also holds where all units are run through; what holds is mostly proved.
#[test]
fn proofs_agree_with_running_through_all_units() {
    let mut random = Random(11);
    let [mut proved, mut missed] = [[0; 3]; 2];
    let mut valid = 0;
    for case in 0..6000 {
        let text = program(&mut random);
        let program = text::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let mut report = Report::default();
        structure::check(&program, &mut report);
        scope::check(&program.kernels[0], &mut report);
        if report.found.is_empty() {
            bounds::check(&program.kernels[0], &mut report);
        }
        if !report.found.is_empty() {
            continue;
        }
        valid += 1;
        let (mut proofs, mut traces) = (Proofs::new(&program), Traces::new(&program));
        let step = &program.steps[0];
        let is_proved = [
            sharing::units_are_apart(&program, step, &mut proofs),
            proofs.is_written_whole(BufferId(1)),
            proofs.writes_once(KernelId(0), ParamId(1)),
        ];
        let run = |look: &mut dyn FnMut(&mut Report)| {
            let mut report = Report::default();
            look(&mut report);
            report.found.is_empty()
        };
        let holds = [
            run(&mut |report| sharing::run_through(&program, step, &mut traces, report)),
            run(&mut |report| flow::run_through(&program, BufferId(1), &mut traces, report)),
            !in_place::rewrites(step, &mut traces).contains(&ParamId(1)),
        ];
        for i in 0..3 {
            assert!(holds[i] || !is_proved[i], "case {case}, claim {i}: proved, and wrong\n{text}");
            proved[i] += usize::from(is_proved[i]);
            missed[i] += usize::from(holds[i] && !is_proved[i]);
        }
    }
    assert!(valid > 1000, "{valid} valid");
    println!("{valid} valid, {proved:?} proved, {missed:?} missed");
    for i in 0..3 {
        assert!(proved[i] > 200 && missed[i] < proved[i] / 4, "claim {i}: {proved:?} proved, {missed:?} missed");
    }
}

#[test]
fn time_does_not_depend_on_extents() {
    // Of more units and elements than could be run through.
    let text = "program P target base arena 0 at_least 0 logical 0 scratch 0 buffer y: f32 2147483648 output 0 \
         kernel k units 16777216 flops 0 tile \"\" y: write f32 flat 2147483648 { \
         for row in 0..4096 { for column in max(lo - 4096*row, 0)..min(hi - 4096*row, 4096) { \
         for t in 0..8 { store y[524288*row + 128*column + 16*t], 0.0 } } } } step k { y: y }";
    let program = text::parse(text).unwrap_or_else(|error| panic!("{error}"));
    assert!(super::super::verify(program).is_ok());
}
