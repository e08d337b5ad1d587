//! Building a kernel: parameters together with their arguments, fresh variables and locals.

use crate::kernel::{
    Access, Arg, At, Elem, Kernel, LANES, Local, Param, ParamId, ParamKind, Region, Stmt, TableId, Value, Var,
};

/// A kernel being built, with the arguments of the step that it is for.
pub(super) struct KernelBuilder {
    params: Vec<Param>,
    args: Vec<Arg>,
    vars: Vec<String>,
    locals: Vec<String>,
    in_place: Vec<(ParamId, ParamId)>,
}

impl KernelBuilder {
    pub(super) fn new() -> Self {
        KernelBuilder {
            params: Vec::new(),
            args: Vec::new(),
            vars: vec!["lo".to_owned(), "hi".to_owned()],
            locals: Vec::new(),
            in_place: Vec::new(),
        }
    }

    /// A variable; the second of a name is told apart by a number.
    pub(super) fn var(&mut self, name: &str) -> Var {
        let var = Var(self.vars.len() as u32);
        self.vars.push(distinct(name, &self.vars));
        var
    }

    /// Binds a value to a name, unless it is a name or a constant already, so that it may be used several times.
    pub(super) fn bind(&mut self, body: &mut Vec<Stmt>, value: Value) -> Value {
        match value {
            Value::Local(_) | Value::Const(_) | Value::ConstI32(_) | Value::Acc => value,
            Value::Load { .. }
            | Value::Splat(_)
            | Value::SplatGroup { .. }
            | Value::Unary(..)
            | Value::Binary(..)
            | Value::Fma(..)
            | Value::SelectLt { .. } => {
                let local = Local(self.locals.len() as u32);
                self.locals.push(distinct("v", &self.locals));
                body.push(Stmt::Let { local, value });
                Value::Local(local)
            }
        }
    }

    /// A parameter of elements in a row.
    pub(super) fn flat(&mut self, name: &str, len: usize, access: Access, region: Region) -> ParamId {
        self.param(name, ParamKind::Flat { elem: Elem::F32, len, access }, Arg::Flat(region))
    }

    /// A parameter of blocks, each of `len` elements.
    pub(super) fn blocks(&mut self, name: &str, len: usize, access: Access, regions: Vec<Region>) -> ParamId {
        let count = regions.len();
        self.param(name, ParamKind::Blocks { elem: Elem::F32, count, len, access }, Arg::Blocks(regions))
    }

    /// A table of `len` entries, each less than `below`.
    pub(super) fn table(&mut self, name: &str, len: usize, below: u32, table: TableId) -> ParamId {
        self.param(name, ParamKind::Table { len, below }, Arg::Table(table))
    }

    fn param(&mut self, name: &str, kind: ParamKind, arg: Arg) -> ParamId {
        let id = ParamId(self.params.len() as u32);
        let names: Vec<String> = self.params.iter().map(|param| param.name.clone()).collect();
        self.params.push(Param { name: distinct(name, &names), kind });
        self.args.push(arg);
        id
    }

    /// Lets the blocks of `read` be overwritten by those of `written`.
    pub(super) fn may_overwrite(&mut self, written: ParamId, read: ParamId) {
        self.in_place.push((written, read));
    }

    /// The kernel, and the arguments of its step.
    pub(super) fn build(
        self,
        name: String,
        units: usize,
        flops: u64,
        tile: String,
        body: Vec<Stmt>,
    ) -> (Kernel, Vec<Arg>) {
        let KernelBuilder { params, args, vars, locals, in_place } = self;
        (Kernel { name, params, units, in_place, vars, locals, body, flops, tile }, args)
    }
}

fn distinct(name: &str, taken: &[String]) -> String {
    if !taken.iter().any(|t| t == name) {
        return name.to_owned();
    }
    (2..).map(|n| format!("{name}{n}")).find(|n| !taken.contains(n)).unwrap_or_default()
}

/// Sixteen elements of a place.
pub(super) fn load(at: At) -> Value {
    Value::Load { at, lanes: LANES }
}

/// Stores all lanes.
pub(super) fn store(at: At, value: Value) -> Stmt {
    Stmt::Store { at, value, lanes: LANES }
}

/// `for var in range`, not unrolled.
pub(super) fn for_loop(var: Var, range: crate::kernel::Range, body: Vec<Stmt>) -> Stmt {
    Stmt::For { var, range, unroll: false, body }
}

/// The region of a whole buffer.
pub(super) fn whole(buffer: crate::kernel::BufferId) -> Region {
    Region { buffer, offset: 0 }
}
