use super::*;
use crate::front;
use crate::kernel::*;

/// Three steps over two blocks of four pixels: a copy by a table, a scaling in place, and a way out.
const BASE: &str = r#"
program Base target base
arena 128 at_least 64 logical 64 scratch 64
w0 = read "scale" gamma [16]
buffer x: f32 128 input 0
buffer a: f32 128 arena 0
buffer scale: f32 16 packed w0 vector
buffer s: f32 64 scratch 0
buffer y: f32 128 output 0
table order [1, 0]

kernel copy units 8 flops 0 tile ""
  order: table 2 below 2
  x: read f32 blocks 2 of 64
  a: write f32 blocks 2 of 64
{
  for cb in 0..2 {
    for p in max(lo - 4*cb, 0)..min(hi - 4*cb, 4) {
      store a[cb][16*p], load x[order[cb]][16*p]
    }
  }
}

kernel scale_relu units 8 flops 256 tile "1×1"
  in_place b over a
  a: read f32 blocks 2 of 64
  scale: read f32 flat 16
  b: write f32 blocks 2 of 64
{
  for cb in 0..2 {
    for p in max(lo - 4*cb, 0)..min(hi - 4*cb, 4) {
      let v = mul(load a[cb][16*p], load scale[0])
      store b[cb][16*p], max(0.0, v)
    }
  }
}

kernel sums units 8 flops 256 tile "1×1"
  a: read f32 blocks 2 of 64
  s: update f32 flat 32
  y: write f32 blocks 2 of 64
{
  for cb in 0..2 {
    for p in max(lo - 4*cb, 0)..min(hi - 4*cb, 4) {
      for k in 0..3 {
        zero s[16*(k mod 2)], 16
      }
      tile q: 1, b: 1 {
        init load s[16]
        reduce j in {0: 0..1}, i in 0..1 {
          add(load a[cb + b][16*p + 16*q + i])
        }
        finish {
          store y[cb][16*p], acc
        }
      }
    }
  }
}

step copy { order: table(order) x: [x, x + 64] a: [a, a + 64] }
step scale_relu own_units { a: [a, a + 64] scale: scale b: [a, a + 64] }
step sums own_units for bn, relu { a: [a, a + 64] s: s y: [y, y + 64] }
"#;

fn parsed(text: &str) -> Program {
    text::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn the_base_is_accepted() {
    let found = verify(parsed(BASE)).err().unwrap_or_default();
    assert_eq!(found, []);
}

/// The base with one thing broken: the invariants that are found broken, and the first violation.
fn broken(program: Program) -> (Vec<Invariant>, String) {
    let found = verify(program).expect_err("it is broken");
    let mut invariants: Vec<Invariant> = found.iter().map(|violation| violation.invariant).collect();
    invariants.dedup();
    (invariants, found[0].to_string())
}

#[test]
fn every_invariant_is_looked_after() {
    use Invariant::*;
    let cases: &[(&str, &str, Invariant, &str)] = &[
        // Structure.
        (
            "buffer a: f32 128 arena 0",
            "buffer a: f32 128 arena 8",
            Structure,
            "buffer a starts at 8, which is no multiple of 16",
        ),
        ("arena 128", "arena 127", Structure, "buffer a ends past the 127 elements of the arena"),
        ("scratch 64\n", "scratch 48\n", Structure, "buffer s ends past the 48 elements of scratch"),
        ("output 0", "output 1", Structure, "the positions of outputs are [1]"),
        (
            "f32 16 packed",
            "f32 32 packed",
            Structure,
            "buffer scale has 32 elements, but [16] packed as vector is 16 elements",
        ),
        (
            "x: [x, x + 64]",
            "x: [x, x + 65]",
            Structure,
            "step 0: kernel copy: argument x: 64 elements from 65 on do not lie in x, which has 128",
        ),
        ("x: [x, x + 64]", "x: [x]", Structure, "step 0: kernel copy: argument x: 1 blocks where 2 are taken"),
        ("s: s y", "s: [s] y", Structure, "step 2: kernel sums: argument s: not of the parameter's kind"),
        ("buffer x: f32", "buffer x: i32", Structure, "step 0: kernel copy: argument x: x has elements I32, not F32"),
        (
            "order [1, 0]",
            "order [1, 2]",
            Structure,
            "step 0: kernel copy: argument order: order has an entry 2, not below 2",
        ),
        (
            "order [1, 0]",
            "order [1]",
            Structure,
            "step 0: kernel copy: argument order: order has 1 entries where 2 are taken",
        ),
        (
            "in_place b over a",
            "in_place a over b",
            Structure,
            "kernel scale_relu: in place p0, p2 is no pair of a written and a read parameter of one form",
        ),
        ("copy units 8", "copy units 0", Structure, "kernel copy: it has no units"),
        // Scope.
        (
            "for k in 0..3",
            "for k in 0..p unroll",
            Scope,
            "kernel sums: for cb: for p: for k: an unrolled range that is not constant",
        ),
        ("init load s[16]", "init acc", Scope, "kernel sums: for cb: for p: tile: init: acc outside of a finish"),
        ("tile q: 1", "tile q: 0", Scope, "kernel sums: for cb: for p: tile: an empty tile, 0×1"),
        ("{0: 0..1}", "{0: 0..2}", Scope, "kernel sums: for cb: for p: tile: reduce: a tap for pixels 0..2 of 1"),
        (
            "store y[cb][16*p], acc",
            "store y[16*p], acc",
            Scope,
            "kernel sums: for cb: for p: tile: finish: store y: y is taken block by block",
        ),
        (
            "store y[cb][16*p], acc",
            "store y[cb][16*p] lanes 17, acc",
            Scope,
            "kernel sums: for cb: for p: tile: finish: store y: 17 lanes",
        ),
        ("k mod 2", "k mod 0", Scope, "kernel sums: for cb: for p: for k: zero s: modulo 0"),
        (
            "zero s[16*(k mod 2)], 16",
            "prefetch 3, s[0]",
            Scope,
            "kernel sums: for cb: for p: for k: prefetch s: there is no cache level 3",
        ),
        // Types.
        ("max(0.0, v)", "max(i32(0), v)", Types, "kernel scale_relu: for cb: for p: store b: Max of I32 and F32"),
        (
            "max(0.0, v)",
            "to_i32(v)",
            Types,
            "kernel scale_relu: for cb: for p: store b: a value of I32 in elements of F32",
        ),
        // Access.
        (
            "store a[cb][16*p], load x[order[cb]][16*p]",
            "store x[cb][16*p], 0.0",
            Access,
            "kernel copy: for cb: for p: store x: x is not written",
        ),
        (
            "load a[cb][16*p], load scale[0]",
            "load b[cb][16*p], load scale[0]",
            Access,
            "kernel scale_relu: for cb: for p: let l0: b is not read",
        ),
        ("a: [a, a + 64] }", "a: [x, x + 64] }", Access, "step 0: kernel copy: argument a: x is read only"),
        (
            "a: [a, a + 64] s:",
            "a: [y, y + 64] s:",
            Access,
            "step 2: kernel sums: argument a: y is an output, which is never read",
        ),
        // Bounds.
        (
            "min(hi - 4*cb, 4) {\n      store a",
            "min(hi - 4*cb, 5) {\n      store a",
            Bounds,
            "kernel copy: for cb: for p: store: 16*p may be 64, for 16 of the 64 elements of x",
        ),
        (
            "max(lo - 4*cb, 0)..min(hi - 4*cb, 4) {\n      store a",
            "lo - 4*cb..min(hi - 4*cb, 4) {\n      store a",
            Bounds,
            "kernel copy: for cb: for p: store: 16*p may be -64, for 16 of the 64 elements of x",
        ),
        (
            "load x[order[cb]]",
            "load x[order[cb + 1]]",
            Bounds,
            "kernel copy: for cb: for p: store: cb + 1 may be 2, for the 2 entries of order",
        ),
        (
            "order: table 2 below 2",
            "order: table 2 below 3",
            Bounds,
            "kernel copy: for cb: for p: store: order[cb] may be 2, for the 2 blocks of x",
        ),
        ("k mod 2", "(k - 1) mod 2", Bounds, "kernel sums: for cb: for p: for k: zero: k - 1 may be -1, for modulo 2"),
        (
            "k mod 2",
            "k mod 3",
            Bounds,
            "kernel sums: for cb: for p: for k: zero: 16*(k mod 3) may be 32, for 16 of the 32 elements of s",
        ),
        (
            "{0: 0..1}, i in 0..1",
            "{1: 0..1}, i in 0..2",
            Bounds,
            "kernel sums: for cb: for p: tile: reduce: 16*p + 16*q + i may be 49, for 16 of the 64 elements of a",
        ),
        // Aliasing.
        (
            "b: [a, a + 64] }",
            "b: [a + 64, a] }",
            Aliasing,
            "step 1: kernel scale_relu: block 0 of a and block 1 of b overlap and one is written",
        ),
        (
            "  in_place b over a\n",
            "",
            Aliasing,
            "step 1: kernel scale_relu: block 0 of a and block 0 of b overlap and one is written",
        ),
        (
            "x: [x, x + 64] a: [a, a + 64] }",
            "x: [x, x + 64] a: [a, a + 48] }",
            Aliasing,
            "step 0: kernel copy: block 0 of a and block 1 of a overlap and one is written",
        ),
        // In place.
        (
            "load a[cb][16*p], load scale[0]",
            "load a[cb][0], load scale[0]",
            InPlace,
            "kernel scale_relu: a is read elsewhere than where b overwrites it",
        ),
        (
            "store b[cb][16*p], max(0.0, v)",
            "store b[cb][16*p] lanes 8, max(0.0, v)",
            InPlace,
            "kernel scale_relu: a is read elsewhere than where b overwrites it",
        ),
        (
            "store b[cb][16*p], max(0.0, v)",
            "store b[cb][16*p], v store b[cb][16*p], v",
            InPlace,
            "kernel scale_relu: a unit writes elements of b twice",
        ),
        // Units.
        (
            "store a[cb][16*p]",
            "store a[cb][0]",
            Units,
            "step 0: kernel copy: units 0 and 1 both write 0..16 of block 0 of a",
        ),
        (
            "max(lo - 4*cb, 0)..min(hi - 4*cb, 4) {\n      store a",
            "0..4 {\n      store a",
            Units,
            "step 0: kernel copy: units 0 and 1 both write 0..64 of block 0 of a",
        ),
        (
            "min(hi - 4*cb, 4) {\n      store a",
            "min(lo + 1 - 4*cb, 4) {\n      store a",
            Units,
            "step 0: kernel copy: a call of all units does not write of a what the units write one by one",
        ),
        // Waits.
        (
            "step copy {",
            "step copy own_units {",
            Waits,
            "step 0: kernel copy: the first step waits for the units of a step before it",
        ),
        (
            "copy units 8",
            "copy units 9",
            Waits,
            "step 1: kernel scale_relu: it waits for its own units, but has 8 and the step before 9",
        ),
        (
            "reduce j in {0: 0..1}, i in 0..1 {",
            "reduce j in {0: 0..1} apart, i in 0..1 {",
            Scope,
            "kernel sums: for cb: for p: tile: reduce: taps that are summed apart",
        ),
        (
            "reduce j in {0: 0..1}, i in 0..1 {",
            "reduce j in 0..1 apart, i in 0..1 apart {",
            Scope,
            "kernel sums: for cb: for p: tile: reduce: 2 of 2 axes are summed apart",
        ),
        (
            "reduce j in {0: 0..1}, i in 0..1 {\n          add(",
            "reduce j in 0..1 apart, i in 0..1 {\n          max(",
            Scope,
            "kernel sums: for cb: for p: tile: reduce: a largest that is summed apart",
        ),
        (
            "add(load a[cb + b]",
            "add(load a[1 - cb]",
            Waits,
            "step 2: kernel sums: without a barrier after step 0, a unit may read what another one wrote",
        ),
        (
            "store a[cb][16*p], load x[order[cb]]",
            "store a[1 - cb][16*p], load x[order[cb]]",
            Waits,
            "step 1: kernel scale_relu: without a barrier after step 0, a unit may read what another one wrote",
        ),
        // Scratch.
        (
            "zero s[16*(k mod 2)], 16",
            "zero s[0], 16",
            Scratch,
            "step 2: kernel sums: unit 0 reads 16..32 of block 0 of s before it has written them",
        ),
        // Liveness.
        (
            "step copy { order: table(order) x: [x, x + 64] a: [a, a + 64] }\nstep scale_relu own_units",
            "step scale_relu",
            Liveness,
            "step 0: kernel scale_relu: it reads a, which no step before has written",
        ),
        (
            "step sums own_units",
            "buffer z: f32 128 arena 128 step sums own_units",
            Structure,
            "buffer z ends past the 128 elements of the arena",
        ),
        (
            "store y[cb][16*p], acc",
            "store y[cb][16*p] lanes 15, acc",
            Liveness,
            "no step writes element 15 of output y",
        ),
    ];
    let mut wrong = Vec::new();
    for (from, to, invariant, want) in cases {
        assert!(BASE.contains(from), "{from}");
        let found = verify(parsed(&BASE.replacen(from, to, 1))).err().unwrap_or_default();
        match found.first() {
            None => wrong.push(format!("{to:?} is accepted")),
            Some(first) if first.invariant != *invariant || first.to_string() != *want => {
                wrong.push(format!("{to:?}: {:?}: {first}", first.invariant));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn barriers_that_are_needless_are_spared_and_no_others() {
    let spared = |text: &str| {
        let program = verify(parsed(text)).unwrap_or_else(|found| panic!("{}", found[0]));
        let spared = spare_barriers(program).into_inner();
        let waits: Vec<_> = spared.steps.iter().map(|step| step.waits).collect();
        assert!(verify(spared).is_ok());
        waits
    };
    use crate::kernel::Waits::{Barrier, OwnUnits};
    let with_barriers = BASE.replace(" own_units", "");
    assert_eq!(spared(BASE), [Barrier, OwnUnits, OwnUnits]);
    assert_eq!(spared(&with_barriers), [Barrier, OwnUnits, OwnUnits]);
    // Another unit's element is read: by the last step, by the one before it, which the last step then joins.
    let (from, to) = ("add(load a[cb + b]", "add(load a[1 - cb]");
    assert_eq!(spared(&with_barriers.replace(from, to)), [Barrier, OwnUnits, Barrier]);
    let (from, to) = ("store a[cb][16*p], load x[order[cb]]", "store a[1 - cb][16*p], load x[order[cb]]");
    assert_eq!(spared(&with_barriers.replace(from, to)), [Barrier, Barrier, OwnUnits]);
}

#[test]
fn lowered_networks_are_accepted_and_read_back() {
    for variant in front::zoo::FAMILIES.iter().filter_map(|family| family.variants.first()) {
        let name = variant.name;
        let graph = front::load(&format!("zoo:{name}"), None, &[], &front::NoFiles).expect("it elaborates");
        let graph = crate::graph::verify::verify(graph).expect("it is a graph");
        for target in [Target::Avx512, Target::Avx2, Target::Base, Target::Neon] {
            let program = crate::lower::lower(&graph, target).expect("it lowers");
            let text = text::print(&program);
            let program = verify(program).unwrap_or_else(|found| panic!("{name} {target}: {}", found[0]));
            let read = text::parse(&text).unwrap_or_else(|error| panic!("{name} {target}: {error}"));
            assert!(read == *program, "{name} {target}");
        }
    }
}

/// Steps that are not proved by their text alone.
fn run_through(program: &Program) -> Vec<String> {
    let mut proofs = affine::Proofs::new(program);
    let mut all = Vec::new();
    for step in &program.steps {
        let kernel = program.kernel(step);
        if !sharing::units_are_apart(program, step, &mut proofs) {
            all.push(format!("units of {}", kernel.name));
        }
        for (written, _) in &kernel.in_place {
            if !proofs.writes_once(step.kernel, *written) {
                all.push(format!("in place, {}", kernel.name));
            }
        }
    }
    for (id, buffer) in (0..).map(BufferId).zip(&program.buffers) {
        if matches!(buffer.place, Place::Output(_)) && !proofs.is_written_whole(id) {
            all.push(format!("output {}", buffer.name));
        }
    }
    all
}

#[test]
fn networks_are_proved_by_the_text_of_their_kernels() {
    let mut open = Vec::new();
    for variant in front::zoo::FAMILIES.iter().filter_map(|family| family.variants.first()) {
        let graph = front::load(&format!("zoo:{}", variant.name), None, &[], &front::NoFiles).expect("it elaborates");
        let compiled = crate::pipeline::compile(graph, &crate::pipeline::Options::default()).expect("it compiles");
        for program in &compiled.programs {
            open.extend(run_through(program).iter().map(|what| format!("{} {}: {what}", variant.name, program.target)));
        }
    }
    assert!(open.is_empty(), "{}", open.join("\n"));
}

#[test]
fn ids_and_names_are_looked_after() {
    use Invariant::*;
    let check = |change: &dyn Fn(&mut Program), invariant: Invariant, want: &str| {
        let mut program = parsed(BASE);
        change(&mut program);
        let (invariants, what) = broken(program);
        assert!(invariants.contains(&invariant) && what.contains(want), "{what}");
    };
    check(&|p| p.buffers[1].name = "x".into(), Structure, "two buffers are called x");
    check(&|p| p.kernels[1].name = "copy".into(), Structure, "two kernels are called copy");
    check(&|p| p.kernels[1].name.clear(), Structure, "kernel 1 has no name");
    check(&|p| p.kernels[1].vars[2] = "max".into(), Structure, "\"max\" cannot be the name of a variable");
    check(&|p| p.kernels[1].vars[3] = "cb".into(), Structure, "two variables are called cb");
    check(&|p| p.kernels[1].locals[0] = "acc".into(), Structure, "\"acc\" cannot be the name of a local");
    check(&|p| p.kernels[1].vars.swap(0, 1), Structure, "its first variables are not lo and hi");
    check(&|p| p.steps[0].kernel = KernelId(3), Structure, "there is no kernel k3");
    check(&|p| p.steps[0].args[0] = Arg::Table(TableId(1)), Structure, "there is no table t1");
    check(&|p| drop(p.steps[0].args.pop()), Structure, "3 parameters, but 2 arguments");
    let nowhere = Region { buffer: BufferId(9), offset: 0 };
    check(&|p| p.steps[1].args[1] = Arg::Flat(nowhere), Structure, "there is no buffer b9");
    check(&|p| p.weights.clear(), Structure, "packs w0, which is not there");
    let store = |p: &mut Program, change: &dyn Fn(&mut At)| {
        let Stmt::For { body, .. } = &mut p.kernels[0].body[0] else { unreachable!() };
        let Stmt::For { body, .. } = &mut body[0] else { unreachable!() };
        let Stmt::Store { at, .. } = &mut body[0] else { unreachable!() };
        change(at);
    };
    check(&|p| store(p, &|at| at.param = ParamId(7)), Scope, "there is no parameter p7");
    check(&|p| store(p, &|at| at.param = ParamId(0)), Scope, "order is a table");
    check(&|p| store(p, &|at| at.offset = Index::var(Var(9))), Scope, "there is no variable v9");
    check(&|p| store(p, &|at| at.offset.terms[0].1 = 0), Scope, "an index that is not in normal form");
    check(
        &|p| store(p, &|at| at.offset = Index::term(Term::Table(ParamId(1), Box::default()))),
        Scope,
        "p1 is not a table",
    );
    let twice = |p: &mut Program| {
        let Stmt::For { body, .. } = &mut p.kernels[0].body[0] else { unreachable!() };
        let Stmt::For { var, .. } = &mut body[0] else { unreachable!() };
        *var = Var(2);
    };
    check(&twice, Scope, "cb is bound twice");
    let late = |p: &mut Program| {
        let Stmt::For { body, .. } = &mut p.kernels[1].body[0] else { unreachable!() };
        let Stmt::For { body, .. } = &mut body[0] else { unreachable!() };
        body.swap(0, 1);
    };
    check(&late, Scope, "v is not bound here");
    check(
        &|p| p.kernels[0].params[2].kind = ParamKind::Table { len: 2, below: 2 },
        Structure,
        "not of the parameter's kind",
    );
    check(&|p| p.kernels[2].units = 1 << 40, Size, "too many to run through one by one");
}

#[test]
fn bounds_follow_what_ranges_have_to_do_with_each_other() {
    let kernel = |body: &str| {
        let text = format!(
            "kernel k units 56 flops 0 tile \"\" x: read f32 flat 896 t: table 4 below 3 y: write f32 flat 896 \
             {{ {body} }}"
        );
        let mut report = Report::default();
        let kernel = text::parse_kernel(&text).unwrap_or_else(|error| panic!("{error}"));
        scope::check(&kernel, &mut report);
        bounds::check(&kernel, &mut report);
        report.found.first().map(ToString::to_string)
    };
    let holds = [
        // A window that is narrowed at both ends.
        "for u in lo..hi { for kh in max(0, 1 - u)..min(3, 57 - u) { store y[16*u], load x[16*u + 16*kh - 16] } }",
        // With a stride.
        "for u in lo..28 { for kh in max(0, 1 - 2*u)..min(3, 57 - 2*u) { store y[0], load x[32*u + 16*kh - 16] } }",
        // Tiles, of which the last unit has fewer.
        "for u in lo..min(hi, 10) { for t in 0..min(6, 56 - 6*u) { store y[96*u + 16*t], 0.0 } }",
        // A loop that never runs proves nothing wrong.
        "for u in 5..5 { store y[9999], 0.0 } for v in 3..2 { store y[0 - 16*v], 0.0 }",
        // A ring, exact within one period.
        "for u in 56..60 { store y[16*(u mod 56) + 832], 0.0 }",
        "for u in lo..hi { store y[16*((u + 55) mod 56)], 0.0 }",
        // Tables and prefetches.
        "for u in 0..4 { prefetch 1, x[99999] store y[440*t[u]], 0.0 }",
        // Negative factors.
        "for u in lo..hi { store y[880 - 16*u], 0.0 }",
    ];
    let found: Vec<String> = holds.iter().filter_map(|body| kernel(body)).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    let fails = [
        (
            "for u in lo..hi { for kh in max(0, 1 - u)..3 { store y[16*u], load x[16*u + 16*kh - 16] } }",
            "16*u + 16*kh - 16 may be 896",
        ),
        (
            "for u in lo..hi { for kh in 0..min(3, 57 - u) { store y[16*u], load x[16*u + 16*kh - 16] } }",
            "16*u + 16*kh - 16 may be -16",
        ),
        ("for u in max(lo, 56)..max(hi, 57) { store y[16*u], 0.0 }", "16*u may be 896"),
        ("for u in 55..58 { store y[16*(u mod 56) + 832], 0.0 }", "16*(u mod 56) + 832 may be 1712"),
        ("for u in 0..5 { prefetch 1, x[t[u]] }", "u may be 4, for the 4 entries of t"),
        ("for u in lo..hi { store y[16*u] lanes 16, load x[16*hi] }", "16*hi may be 896"),
    ];
    let found: Vec<String> = fails.iter().map(|(body, _)| kernel(body).unwrap_or_default()).collect();
    let unlike = |((_, want), found): (&(&str, &str), &String)| !found.contains(want);
    assert!(!fails.iter().zip(&found).any(unlike), "{}", found.join("\n"));
}

#[test]
fn no_text_makes_it_panic_or_run_away() {
    let mut state = 7u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let numbers: Vec<usize> = BASE.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at).collect();
    for _ in 0..200 {
        let mut text = BASE.to_owned();
        for _ in 0..1 + random(2) {
            let at = numbers[random(numbers.len())];
            let digit = ["0", "1", "3", "9"][random(4)];
            text.replace_range(at..at + 1, digit);
        }
        if let Ok(program) = text::parse(&text) {
            let inputs = [vec![0.5; 128]];
            // What the verifier accepts, the interpreter runs.
            if let Ok(program) = verify(program) {
                let ran = interp::run(&program, |buffer| vec![1.0; buffer.len], &inputs, interp::Options::default());
                if program.buffers.iter().all(|buffer| !matches!(buffer.place, Place::Input(_)) || buffer.len == 128) {
                    ran.unwrap_or_else(|error| panic!("{error}\n{text}"));
                }
            }
        }
    }
}
