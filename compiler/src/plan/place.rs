//! Places for allocations, by several greedy algorithms, of which the smallest arena wins.
//!
//! The blocks of a value live from the same step to the same step. So allocations of one length and life are a [`Group`],
//! which is placed as a whole, in as few runs as fit. One algorithm goes through time and keeps what is free ([`Free`]).
//! The others take groups in an order, each at the lowest place where it meets nothing that is alive with it; what is
//! taken is kept by time ([`Taken`]). All of them take time by the number of groups, and little by that of blocks.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Allocation, Life, loads};

/// The offset of each allocation, by the best of the orders.
pub(super) fn place(allocations: &[Allocation]) -> Vec<usize> {
    place_counting(allocations).0
}

/// The most groups that are placed in orders: one after the other each looks for the lowest place, past all that are too
/// small.
const IN_ORDERS: usize = 1 << 12;

/// The same, with how many runs were looked at.
fn place_counting(allocations: &[Allocation]) -> (Vec<usize>, usize) {
    let groups = groups(allocations);
    let span = |a: &Group| a.life.last - a.life.first + 1;
    type Key = fn(&Group) -> (Reverse<usize>, usize);
    let by_size: Key = |a| (Reverse(a.len), a.life.first);
    let by_birth: Key = |a| (Reverse(usize::MAX - a.life.first), usize::MAX - a.len);
    let by_death: Key = |a| (Reverse(a.life.last), a.life.first);
    let by_volume: Key = |a| (Reverse(a.len * (a.life.last - a.life.first + 1)), a.life.first);
    let loads = loads(allocations, |a| a.len);
    let mut looked = 0;
    let mut best = place_through_time(&groups, &mut looked);
    let mut consider = |key: &dyn Fn(&Group) -> (Reverse<usize>, usize)| {
        let mut order: Vec<usize> = (0..groups.len()).collect();
        order.sort_by_key(|&i| key(&groups[i]));
        let (arena, runs) = place_in_order(&groups, &order, loads.len(), &mut looked);
        if arena < best.0 {
            best = (arena, runs);
        }
    };
    let in_orders = groups.len() <= IN_ORDERS;
    for key in [by_size, by_birth, by_death, by_volume].into_iter().filter(|_| in_orders) {
        consider(&key);
    }
    // What is alive at the fullest step first, longest lives first: it must fit exactly; then outwards in time.
    let peak = (0..loads.len()).max_by_key(|&step| (loads[step], Reverse(step)));
    if let Some(peak) = peak.filter(|_| in_orders) {
        let distance = move |a: &Group| {
            if a.life.first > peak { a.life.first - peak } else { peak.saturating_sub(a.life.last) }
        };
        consider(&|a| (Reverse(usize::MAX - distance(a)), usize::MAX - a.len));
        consider(&|a| (Reverse(usize::MAX - distance(a)), usize::MAX - span(a)));
    }
    let mut offsets = vec![0; allocations.len()];
    for (group, runs) in groups.iter().zip(best.1) {
        let places = runs.iter().flat_map(|run| (run.start..run.end).step_by(group.len.max(1)));
        group.members.iter().zip(places).for_each(|(&member, offset)| offsets[member] = offset);
    }
    (offsets, looked)
}

/// Allocations of one length and one life.
struct Group {
    members: Vec<usize>,
    len: usize,
    life: Life,
}

/// The groups, in the order of their first members.
fn groups(allocations: &[Allocation]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut known: BTreeMap<(usize, usize, usize), usize> = BTreeMap::new();
    for (member, &Allocation { len, life, .. }) in allocations.iter().enumerate() {
        let group = *known.entry((len, life.first, life.last)).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Group { members: Vec::new(), len, life });
        }
        groups[group].members.push(member);
    }
    groups
}

/// Elements `start..end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: usize,
    end: usize,
}

/// The arena's length, and the runs in which each group's members lie one after the other: groups as they are born, the
/// longest allocations first, each in the shortest free run that it fits in.
fn place_through_time(groups: &[Group], looked: &mut usize) -> (usize, Vec<Vec<Run>>) {
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|&i| (groups[i].life.first, Reverse(groups[i].len)));
    let mut free = Free::default();
    free.add(Run { start: 0, end: usize::MAX });
    let mut alive: BTreeMap<usize, Vec<Run>> = BTreeMap::new();
    let mut placed = vec![Vec::new(); groups.len()];
    let mut arena = 0;
    for i in order {
        let Group { ref members, len, life } = groups[i];
        while let Some(dead) = alive.first_entry().filter(|entry| *entry.key() < life.first) {
            dead.remove().into_iter().for_each(|run| free.add(run));
        }
        let mut left = members.len();
        while left > 0 && len > 0 {
            *looked += 1;
            let Some(found) = free.shortest(len) else { break };
            let fit = ((found.end - found.start) / len).min(left);
            let run = Run { start: found.start, end: found.start + fit * len };
            free.take(found, run.end);
            placed[i].push(run);
            (left, arena) = (left - fit, arena.max(run.end));
        }
        alive.entry(life.last).or_default().extend(&placed[i]);
    }
    (arena, placed)
}

/// What is free at a time: runs that do not touch, by their start and by their length.
#[derive(Default)]
struct Free {
    runs: BTreeMap<usize, usize>,
    by_length: BTreeSet<(usize, usize)>,
}

impl Free {
    fn shortest(&self, len: usize) -> Option<Run> {
        let &(length, start) = self.by_length.range((len, 0)..).next()?;
        Some(Run { start, end: start + length })
    }

    fn remove(&mut self, Run { start, end }: Run) {
        self.runs.remove(&start);
        self.by_length.remove(&(end - start, start));
    }

    /// Takes a free run up to an element in it.
    fn take(&mut self, from: Run, to: usize) {
        self.remove(from);
        if to < from.end {
            self.runs.insert(to, from.end);
            self.by_length.insert((from.end - to, to));
        }
    }

    fn add(&mut self, mut run: Run) {
        let before = self.runs.range(..run.start).next_back().map(|(&start, &end)| Run { start, end });
        let behind = self.runs.get(&run.end).map(|&end| Run { start: run.end, end });
        for next in before.filter(|before| before.end == run.start).into_iter().chain(behind) {
            self.remove(next);
            run = Run { start: run.start.min(next.start), end: run.end.max(next.end) };
        }
        self.runs.insert(run.start, run.end);
        self.by_length.insert((run.end - run.start, run.start));
    }
}

/// The same, of groups in an order, each at the lowest place that is free in its life.
fn place_in_order(groups: &[Group], order: &[usize], steps: usize, looked: &mut usize) -> (usize, Vec<Vec<Run>>) {
    let mut taken = Taken::new(steps);
    let mut placed = vec![Vec::new(); groups.len()];
    let mut arena = 0;
    for &i in order {
        let Group { ref members, len, life } = groups[i];
        let mut left = members.len();
        let mut at = 0;
        while left > 0 && len > 0 {
            let free = taken.free(life, at, len, looked);
            let fit = ((free.end - free.start) / len).min(left);
            let run = Run { start: free.start, end: free.start + fit * len };
            placed[i].push(run);
            (left, at, arena) = (left - fit, run.end, arena.max(run.end));
        }
        placed[i].iter().for_each(|&run| taken.add(life, run));
    }
    (arena, placed)
}

/// What is taken, by time: a tree of ranges of steps, each of more than one step with its halves below it.
struct Taken {
    steps: usize,
    /// By range, the whole first; the halves of range i are ranges 2i + 1 and 2i + 2.
    ranges: Vec<During>,
}

/// What is taken in a range of steps.
#[derive(Clone, Default)]
struct During {
    /// By what lives in all of the range, and was not kept with a larger one.
    throughout: Runs,
    /// By what lives in some of the range, and was not kept with a larger one.
    ever: Runs,
}

impl Taken {
    fn new(steps: usize) -> Taken {
        let steps = steps.max(1).next_power_of_two();
        Taken { steps, ranges: vec![During::default(); 2 * steps - 1] }
    }

    /// The largest ranges within a life, with true, and all ranges around those, with false.
    fn ranges_of(&self, life: Life) -> Vec<(usize, bool)> {
        let mut found = Vec::new();
        let mut open = vec![(0, 0, self.steps)];
        while let Some((range, start, end)) = open.pop() {
            if life.last < start || end <= life.first {
                continue;
            }
            let is_within = life.first <= start && end <= life.last + 1;
            found.push((range, is_within));
            if !is_within {
                let middle = start.midpoint(end);
                open.extend([(2 * range + 2, middle, end), (2 * range + 1, start, middle)]);
            }
        }
        found
    }

    fn add(&mut self, life: Life, run: Run) {
        for (range, is_within) in self.ranges_of(life) {
            let during = &mut self.ranges[range];
            during.ever.add(run);
            if is_within {
                during.throughout.add(run);
            }
        }
    }

    /// The lowest elements from `at` on that are free in a life, at least `len` of them, up to the next that are not.
    fn free(&self, life: Life, mut at: usize, len: usize, looked: &mut usize) -> Run {
        let ranges = self.ranges_of(life).into_iter();
        let met: Vec<&Runs> = ranges
            .map(|(range, is_within)| {
                let during = &self.ranges[range];
                if is_within { &during.ever } else { &during.throughout }
            })
            .collect();
        loop {
            *looked += met.len();
            let before = at;
            for runs in &met {
                at = runs.end_of_last(at, at + len).unwrap_or(at);
            }
            if at == before {
                break;
            }
        }
        let end = met.iter().filter_map(|runs| runs.next_start(at)).min();
        Run { start: at, end: end.unwrap_or(usize::MAX) }
    }
}

/// Disjoint runs, by their start: those that touch are one.
#[derive(Clone, Default)]
struct Runs(BTreeMap<usize, usize>);

impl Runs {
    fn add(&mut self, Run { mut start, mut end }: Run) {
        if let Some((&before, &to)) = self.0.range(..=start).next_back()
            && to >= start
        {
            start = before;
        }
        while let Some((&next, &to)) = self.0.range(start..=end).next() {
            self.0.remove(&next);
            end = end.max(to);
        }
        self.0.insert(start, end);
    }

    /// The end of the last run that has some of these elements.
    fn end_of_last(&self, start: usize, end: usize) -> Option<usize> {
        self.0.range(..end).next_back().map(|(_, &to)| to).filter(|&to| to > start)
    }

    fn next_start(&self, at: usize) -> Option<usize> {
        self.0.range(at..).next().map(|(&start, _)| start)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Random, allocation};
    use super::*;

    fn meets(a: Life, b: Life) -> bool {
        a.first <= b.last && b.first <= a.last
    }

    /// Whether no two that are alive at once overlap.
    fn are_apart(all: &[Allocation], offsets: &[usize]) -> bool {
        (0..all.len()).all(|i| {
            (0..i).all(|j| {
                let apart = offsets[i] + all[i].len <= offsets[j] || offsets[j] + all[j].len <= offsets[i];
                apart || !meets(all[i].life, all[j].life)
            })
        })
    }

    #[test]
    fn a_chain_of_equal_blocks_needs_two() {
        let chain: Vec<Allocation> = (0..10).map(|i| allocation(64, i, i + 1)).collect();
        assert_eq!(place(&chain).iter().max(), Some(&64));
        assert_eq!(loads(&chain, |a| a.len).into_iter().max(), Some(128));
    }

    #[test]
    fn allocations_alive_at_once_never_overlap() {
        let mut random = Random(7);
        for _ in 0..50 {
            let all: Vec<Allocation> = (0..40)
                .map(|_| {
                    let first = random.below(30);
                    allocation(16 * (1 + random.below(8)), first, first + random.below(6))
                })
                .collect();
            assert!(are_apart(&all, &place(&all)));
        }
    }

    #[test]
    fn what_is_placed_through_time_never_overlaps() {
        let mut random = Random(5);
        for _ in 0..50 {
            let life = |random: &mut Random| (random.below(30), random.below(6));
            let all: Vec<Allocation> = (0..60)
                .map(|_| {
                    let (first, rest) = life(&mut random);
                    allocation(16 * (1 + random.below(3)), first, first + rest)
                })
                .collect();
            let groups = groups(&all);
            let (arena, placed) = place_through_time(&groups, &mut 0);
            let mut offsets = vec![usize::MAX; all.len()];
            for (group, runs) in groups.iter().zip(placed) {
                let places = runs.iter().flat_map(|run| (run.start..run.end).step_by(group.len));
                group.members.iter().zip(places).for_each(|(&member, place)| offsets[member] = place);
            }
            assert!(are_apart(&all, &offsets));
            assert_eq!((0..all.len()).map(|i| offsets[i] + all[i].len).max(), Some(arena));
        }
    }

    /// Each at the lowest place that is free in its life, as looking at all that were placed before says.
    #[test]
    fn a_place_is_the_lowest_that_is_free() {
        let mut random = Random(11);
        for _ in 0..50 {
            let all: Vec<Allocation> = (0..60)
                .map(|_| {
                    let first = random.below(12);
                    allocation(16 * (1 + random.below(4)), first, first + random.below(9))
                })
                .collect();
            let groups = groups(&all);
            let order: Vec<usize> = (0..groups.len()).collect();
            let (_, placed) = place_in_order(&groups, &order, 21, &mut 0);
            let mut before: Vec<(Life, Run)> = Vec::new();
            for (group, runs) in groups.iter().zip(placed) {
                let starts = runs.iter().flat_map(|run| (run.start..run.end).step_by(group.len));
                for at in starts.collect::<Vec<_>>() {
                    let is_free = |at: usize| {
                        before.iter().all(|(life, run)| {
                            !meets(*life, group.life) || run.end <= at || at + group.len <= run.start
                        })
                    };
                    let lowest = (0..).step_by(16).find(|&at| is_free(at));
                    assert_eq!(lowest, Some(at));
                    before.push((group.life, Run { start: at, end: at + group.len }));
                }
            }
        }
    }

    #[test]
    fn a_hundred_thousand_blocks_take_work_by_their_values_and_not_by_pairs() {
        // Twenty values of five thousand blocks of a pixel each, as of a network; three are alive at once.
        let blocks = |value: usize| vec![allocation(16, value, value + 2); 5000];
        let values: Vec<Allocation> = (0..20).flat_map(blocks).collect();
        let (offsets, looked) = place_counting(&values);
        assert_eq!(offsets.iter().max(), Some(&(16 * (3 * 5000 - 1))));
        assert!(looked < 10_000, "{looked} runs");
        // Blocks that are made one a step, of two lengths, and live for long: none is like another.
        let mut random = Random(3);
        let apart: Vec<Allocation> =
            (0..100_000).map(|i| allocation(16 * (1 + i % 2), i, i + 1 + random.below(1000))).collect();
        let (offsets, looked) = place_counting(&apart);
        assert!(looked <= 200_000, "{looked} runs");
        let arena = (0..apart.len()).map(|i| offsets[i] + apart[i].len).max();
        let least = loads(&apart, |a| a.len).into_iter().max();
        assert!(arena.zip(least).is_some_and(|(arena, least)| arena * 10 < least * 12), "{arena:?} of {least:?}");
    }
}
