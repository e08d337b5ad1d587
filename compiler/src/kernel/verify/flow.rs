//! Liveness: nothing is read before it is written, and all outputs are written.

use std::collections::BTreeSet;

use super::affine::Proofs;
use super::trace::{Traces, regions};
use super::{Invariant, Report};
use crate::kernel::{Access, BufferId, ParamKind, Place, Program};

pub(super) fn check(program: &Program, proofs: &Proofs<'_>, traces: &mut Traces<'_>, report: &mut Report) {
    let mut written: BTreeSet<BufferId> = BTreeSet::new();
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
    }
    (report.step, report.kernel) = (None, None);
    for (id, buffer) in (0..).map(BufferId).zip(&program.buffers) {
        if matches!(buffer.place, Place::Output(_)) && !proofs.is_written_whole(id) {
            run_through(program, id, traces, report);
        }
    }
}

/// Finds elements of a buffer that no step writes by running through all steps.
pub(super) fn run_through(program: &Program, id: BufferId, traces: &mut Traces<'_>, report: &mut Report) {
    let mut runs = Vec::new();
    for step in &program.steps {
        if !step.args.iter().any(|arg| regions(arg).iter().any(|region| region.buffer == id)) {
            continue;
        }
        if let Some(trace) = traces.of_step(step) {
            for run in &trace.writes {
                let region = regions(&step.args[run.param.index()])[run.block];
                if region.buffer == id {
                    runs.push((region.offset + run.start, region.offset + run.end));
                }
            }
        }
    }
    runs.sort_unstable();
    let buffer = program.buffer(id);
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
