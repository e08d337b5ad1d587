use kiln_rt::weights::FillSource;

use super::super::interp::evaluate;
use super::super::sample::Random;
use super::*;

fn value(pool: &Pool, id: WeightId) -> Vec<f32> {
    evaluate(pool, id, &FillSource { gain: 1.0 }).unwrap()
}

fn vector(pool: &mut Pool, name: &str, extent: usize) -> WeightId {
    pool.read(name, Kind::Bias, &[extent])
}

/// A random expression over earlier ones; it may not fit.
fn random_expr(r: &mut Random, exprs: usize, shapes: &[Vec<usize>], is_read: &[bool]) -> Expr {
    let any = |r: &mut Random| WeightId(r.below(exprs) as u32);
    let of = any(r);
    let shape = &shapes[of.0 as usize];
    let axis = r.below(shape.len());
    match r.below(11) {
        0 => Expr::Splat { shape: shape.clone().into(), bits: r.pick(&[0.0f32, 1.0, -2.5]).to_bits() },
        1 => {
            let bits: Vec<u32> = (0..shape.iter().product()).map(|i: usize| (i as f32 - 1.5).to_bits()).collect();
            Expr::Literal { shape: shape.clone().into(), bits: bits.into() }
        }
        2 if is_read[of.0 as usize] => Expr::Transpose { of, perm: (0..shape.len()).rev().collect::<Vec<_>>().into() },
        3 => Expr::Reshape { of, shape: shape.iter().rev().copied().collect::<Vec<_>>().into() },
        4 => Expr::Concat { of: vec![of, any(r), of].into(), axis },
        5 | 6 => {
            let index: Vec<u32> = (0..1 + r.below(shape[axis] + 1))
                .map(|_| if r.below(6) == 0 { HOLE } else { r.below(shape[axis]) as u32 })
                .collect();
            Expr::Gather { of, axis, index: index.into() }
        }
        7 | 8 => Expr::Scale { of, axis, by: any(r) },
        9 => Expr::Add { a: of, b: any(r) },
        10 => Expr::Contract { of, by: any(r), groups: 1 + r.below(2) },
        _ => Expr::Times { of, bits: r.pick(&[1.0, -1.0, 0.3f64]).to_bits() },
    }
}

#[test]
fn normal_forms_keep_values() {
    for seed in 0..300 {
        let r = &mut Random(seed);
        // The same expressions, one pool as written, one through the constructors.
        let (mut raw, mut normal) = (Pool::default(), Pool::default());
        let mut ids = Vec::new();
        let mut is_read = Vec::new();
        let reads: [(&str, Kind, &[usize]); 5] = [
            ("k", Kind::Kernel, &[4, 2, 3, 1]),
            ("l", Kind::Kernel, &[4, 2, 3, 1]),
            ("four", Kind::Gamma, &[4]),
            ("two", Kind::Bias, &[2]),
            ("var", Kind::Var, &[4]),
        ];
        for (name, kind, shape) in reads {
            let id = raw.read(name, kind, shape);
            assert_eq!(id.0 as usize, ids.len());
            ids.push(normal.read(name, kind, shape));
            is_read.push(true);
        }
        let rsqrt = Expr::RsqrtEps { of: WeightId(4), eps: 0.1f64.to_bits() };
        raw.intern(rsqrt.clone(), vec![4]);
        ids.push(normal.insert(map_operands(&rsqrt, |of| ids[of.0 as usize])).unwrap());
        is_read.push(false);
        for _ in 0..60 {
            let expr = random_expr(r, raw.exprs.len(), &raw.shapes, &is_read);
            let Ok(shape) = expr.shape(|of| raw.shape(of)) else { continue };
            if raw.known.contains_key(&expr) || shape.iter().product::<usize>() > 4096 {
                continue;
            }
            raw.intern(expr.clone(), shape);
            ids.push(normal.insert(map_operands(&expr, |of| ids[of.0 as usize])).unwrap());
            is_read.push(false);
        }
        for (i, &id) in ids.iter().enumerate() {
            let raw_id = WeightId(i as u32);
            assert_eq!(raw.shape(raw_id), normal.shape(id), "seed {seed}, w{i}");
            let (expected, found) = (value(&raw, raw_id), value(&normal, id));
            for (a, b) in expected.iter().zip(&found) {
                // Factors are multiplied in another order; sums may cancel.
                assert!((a - b).abs() <= 1e-5 * (a.abs() + b.abs()) + 1e-5, "seed {seed}, w{i}: {a} and {b}");
            }
        }
    }
}

#[test]
fn equal_expressions_are_one() {
    let mut pool = Pool::default();
    let [a, b] = [vector(&mut pool, "a", 6), vector(&mut pool, "b", 6)];
    assert_eq!(a, vector(&mut pool, "a", 6));
    let both = pool.concat(&[a, b], 0);
    let nested = pool.concat(&[both, a], 0);
    assert_eq!(nested, pool.concat(&[a, b, a], 0));
    assert_eq!(b, pool.gather(both, 0, &[6, 7, 8, 9, 10, 11]));
    let back = pool.gather(a, 0, &[5, 4, 3, 2, 1, 0]);
    assert_eq!(a, pool.gather(back, 0, &[5, 4, 3, 2, 1, 0]));
}

#[test]
fn neutral_elements_vanish() {
    let mut pool = Pool::default();
    let a = vector(&mut pool, "a", 6);
    let (zero, one) = (pool.splat(&[6], 0.0), pool.splat(&[6], 1.0));
    assert_eq!(a, pool.add(a, zero));
    assert_eq!(a, pool.add(zero, a));
    assert_eq!(a, pool.scale(a, 0, one));
    assert_eq!(a, pool.scale(one, 0, a));
    assert_eq!(a, pool.times(a, 1.0));
    assert_eq!(a, pool.gather(a, 0, &[0, 1, 2, 3, 4, 5]));
    assert_eq!(a, pool.reshape(a, &[6]));
    assert_eq!(a, pool.concat(&[a], 0));
    let minus = pool.times(a, -1.0);
    assert_eq!(a, pool.times(minus, -1.0));
    assert_eq!(one, pool.literal(&[6], &[1.0; 6]));
}

#[test]
fn permutations_stand_inside_scales_and_sums() {
    let mut pool = Pool::default();
    let [a, b] = [vector(&mut pool, "a", 4), vector(&mut pool, "b", 4)];
    let sum = pool.add(a, b);
    let scaled = pool.scale(sum, 0, b);
    let moved = pool.gather(scaled, 0, &[3, 2, 1, 0]);
    assert!(matches!(pool.expr(moved), Expr::Scale { .. }));
    let twice = pool.gather(moved, 0, &[3, 2, 1, 0]);
    assert_eq!(twice, scaled);
}

#[test]
fn batch_norm_is_scale_and_shift() {
    let mut pool = Pool::default();
    let [gamma, beta, mean] = ["gamma", "beta", "mean"].map(|name| pool.read(name, Kind::Gamma, &[8]));
    let var = pool.read("var", Kind::Var, &[8]);
    let (scale, shift) = pool.batch_norm(Some((gamma, beta)), mean, var, 1e-5);
    let (plain, moved) = pool.batch_norm(None, mean, var, 1e-5);
    let [g, b, m, v] = [gamma, beta, mean, var].map(|id| value(&pool, id));
    for c in 0..8 {
        let close = |a: f32, b: f64| assert!((f64::from(a) - b).abs() < 1e-6, "{a} and {b}");
        let by = 1.0 / (f64::from(v[c]) + 1e-5).sqrt();
        close(value(&pool, scale)[c], f64::from(g[c]) * by);
        close(value(&pool, shift)[c], f64::from(b[c]) - f64::from(m[c]) * f64::from(g[c]) * by);
        close(value(&pool, plain)[c], by);
        close(value(&pool, moved)[c], -f64::from(m[c]) * by);
    }
}

#[test]
fn a_scale_by_input_channel_follows_the_groups() {
    for (groups, kernel) in [(1, [4, 6, 1, 1]), (2, [4, 3, 2, 1]), (6, [6, 1, 1, 2]), (2, [4, 1, 1, 1])] {
        let mut pool = Pool::default();
        let w = pool.read("w", Kind::Kernel, &kernel);
        let by = vector(&mut pool, "by", groups * kernel[1]);
        let scaled = pool.scale_in(w, by, groups);
        assert_eq!(pool.shape(scaled), kernel);
        let [w, by, scaled] = [w, by, scaled].map(|id| value(&pool, id));
        let taps = kernel[2] * kernel[3];
        for (i, found) in scaled.iter().enumerate() {
            let (o, input) = (i / taps / kernel[1], i / taps % kernel[1]);
            let channel = o / (kernel[0] / groups) * kernel[1] + input;
            assert!((found - w[i] * by[channel]).abs() <= 1e-6, "{groups} groups, element {i}");
        }
    }
}

#[test]
fn programs_depend_on_their_roots_alone() {
    let mut one = Pool::default();
    let [a, b] = [vector(&mut one, "a", 4), vector(&mut one, "b", 4)];
    let sum = one.add(a, b);
    let program = one.program([sum, a]);
    let mut other = Pool::default();
    let [_, b, a] = ["other", "b", "a"].map(|name| vector(&mut other, name, 4));
    let same = other.add(a, b);
    assert_eq!(program, other.program([same, a]));
    let names: Vec<String> = other.sources([same]).into_iter().map(|source| source.name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn shared_terms_are_gathered_once() {
    let mut pool = Pool::default();
    let mut sum = vector(&mut pool, "a", 4);
    for _ in 0..64 {
        sum = pool.add(sum, sum);
    }
    // Without sharing this would be 2^64 steps.
    let back = pool.gather(sum, 0, &[3, 2, 1, 0]);
    assert!(pool.exprs().len() < 200);
    assert_eq!(pool.shape(back), [4]);
}

#[test]
fn what_does_not_fit_is_not_inserted() {
    let mut pool = Pool::default();
    let a = vector(&mut pool, "a", 4);
    let gather = Expr::Gather { of: a, axis: 0, index: vec![4].into() };
    assert_eq!(pool.insert(gather).unwrap_err(), "index 4 along axis 0 of shape [4]");
    let twice = pool.times(a, 2.0);
    let transpose = Expr::Transpose { of: twice, perm: vec![0].into() };
    assert_eq!(pool.insert(transpose).unwrap_err(), "only a named tensor is transposed");
}
