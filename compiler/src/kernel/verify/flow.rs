//! Liveness: nothing is read before it is written, and all outputs are written.

use std::collections::BTreeSet;

use super::trace::{Traces, regions};
use super::{Invariant, Report};
use crate::kernel::{Access, BufferId, ParamKind, Place, Program};

pub(super) fn check(program: &Program, traces: &mut Traces<'_>, report: &mut Report) {
    let mut written: BTreeSet<BufferId> = BTreeSet::new();
    let mut outputs: Vec<Vec<(usize, usize)>> = vec![Vec::new(); program.buffers.len()];
    for (i, step) in program.steps.iter().enumerate() {
        let kernel = program.kernel(step);
        report.step = Some(i);
        report.kernel = Some(kernel.name.clone());
        let mut writes = BTreeSet::new();
        for (param, arg) in kernel.params.iter().zip(&step.args) {
            let (ParamKind::Flat { access, .. } | ParamKind::Blocks { access, .. }) = param.kind else { continue };
            let buffers: BTreeSet<BufferId> = regions(arg).iter().map(|region| region.buffer).collect();
            if access != Access::Read {
                writes.extend(buffers);
                continue;
            }
            for buffer in buffers.into_iter().filter(|buffer| !written.contains(buffer)) {
                let buffer = program.buffer(buffer);
                match buffer.place {
                    Place::Arena(_) => {
                        let what = format!("it reads {}, which no step before has written", buffer.name);
                        report.add(Invariant::Liveness, what);
                    }
                    Place::Input(_) | Place::Output(_) | Place::Scratch(_) | Place::Packed { .. } => {}
                }
            }
        }
        written.extend(writes);
        if let Some(trace) = traces.of_step(step) {
            for run in &trace.writes {
                let region = regions(&step.args[run.param.index()])[run.block];
                outputs[region.buffer.index()].push((region.offset + run.start, region.offset + run.end));
            }
        }
    }
    (report.step, report.kernel) = (None, None);
    for (buffer, mut runs) in program.buffers.iter().zip(outputs) {
        if matches!(buffer.place, Place::Output(_)) {
            runs.sort_unstable();
            let mut at = 0;
            for (start, end) in runs {
                if start > at {
                    break;
                }
                at = at.max(end);
            }
            if at < buffer.len {
                report.add(Invariant::Liveness, format!("no step writes element {at} of output {}", buffer.name));
            }
        }
    }
}
