//! Plans: for each target the steps in order, with the memory that each kernel is given.

use std::collections::HashMap;

use proc_macro2::{Ident, Literal, TokenStream};
use quote::quote;

use super::compiled::{Compiled, Error};
use super::kernel::elem_type;
use super::module::{Module, import};
use super::modules::{condition, family};
use super::names::{Namer, ident, snake, upper};
use super::print::{comment, doc};
use crate::kernel::{Access, Arg, Elem, Param, ParamKind, Place, Program, Region, Step, TableId, Waits};
use crate::target::Target;

/// The module `plan`: a module a target, and the list of all; `rt` is the path of the runtime.
pub(super) fn plan(compiled: &Compiled<'_>, rt: &TokenStream) -> Result<Module, Error> {
    let children = (0..compiled.programs.len()).map(|index| target_plan(compiled, index, rt));
    let plans = compiled.programs.iter().map(|program| {
        let (condition, name) = (condition(compiled, program.target), ident(program.target.name()));
        quote! { #condition #name::PLAN }
    });
    Ok(Module {
        name: "plan".to_owned(),
        doc: "What runs, for each target.".to_owned(),
        attributes: quote! {},
        items: quote! {
            use #rt::plan::Plan;

            /// The plans, best target first.
            pub const PLANS: &[Plan] = &[#(#plans),*];
        },
        children: children.collect::<Result<_, _>>()?,
    })
}

/// A plan while it is written.
struct Writer<'c> {
    compiled: &'c Compiled<'c>,
    index: usize,
    program: &'c Program,
    names: Namer,
    statics: Vec<TokenStream>,
    /// Lists of offsets by content.
    offsets: HashMap<Vec<u32>, Ident>,
    tables: HashMap<TableId, Ident>,
}

fn target_plan(compiled: &Compiled<'_>, index: usize, rt: &TokenStream) -> Result<Module, Error> {
    let program = compiled.programs[index];
    let names = Namer::without(&["kernels", "weights", "cx", "lo", "hi", "plan", "steps"]);
    let (statics, offsets, tables) = (Vec::new(), HashMap::new(), HashMap::new());
    let mut writer = Writer { compiled, index, program, names, statics, offsets, tables };
    let mut functions = Vec::new();
    let mut steps = Vec::new();
    for step in &program.steps {
        let (name, function) = writer.step(step)?;
        functions.push(function);
        let kernel = program.kernel(step);
        let (kernel, units) = (&kernel.name, Literal::usize_unsuffixed(kernel.units));
        let waits = match step.waits {
            Waits::Barrier => quote! { Waits::Barrier },
            Waits::OwnUnits => quote! { Waits::OwnUnits },
        };
        steps.push(quote! { Step { name: #kernel, run: #name, units: #units, waits: #waits } });
    }
    let target = ident(match program.target {
        Target::Avx512 => "Avx512",
        Target::Avx2 => "Avx2",
        Target::Base => "Base",
        Target::Neon => "Neon",
        Target::Portable => "Portable",
    });
    let (arena, scratch) = (Literal::usize_unsuffixed(program.arena), Literal::usize_unsuffixed(program.scratch));
    let (module, statics) = (ident(program.target.name()), writer.statics);
    let items = quote! {
        /// All steps, in order.
        pub const PLAN: Plan = Plan { target: Target::#target, arena: #arena, scratch: #scratch, steps: STEPS };

        static STEPS: &[Step] = &[#(#steps),*];

        #(#functions)*

        #(#statics)*
    };
    let blocks = import(&quote! { #rt::blocks }, &["Blocks", "BlocksMut"], &items);
    let plan = import(&quote! { #rt::plan }, &["Context", "Plan", "Step", "Waits"], &items);
    let weights = import(&quote! { super::super }, &["weights"], &items);
    Ok(Module {
        name: program.target.name().to_owned(),
        doc: format!(
            "The steps for {}: {} kB of arena, and {} kB of scratch for each worker.\n\n\
             A step's function calls its kernel with the places of its arguments: in the arena, in the packed weights, \
             in the caller's inputs and outputs. A list of blocks is a base and offsets from it, in elements.",
            program.target,
            (program.arena * 4).div_ceil(1000),
            (program.scratch * 4).div_ceil(1000),
        ),
        attributes: condition(compiled, program.target),
        items: quote! {
            #blocks #plan
            use #rt::target::Target;
            use super::super::kernels::#module as kernels;
            #weights

            #items
        },
        children: vec![],
    })
}

/// What makes a pointer to memory one to the elements that a parameter takes, where those are not f32.
fn cast(kind: ParamKind) -> Option<TokenStream> {
    let elem = match kind {
        ParamKind::Flat { elem, .. } | ParamKind::Blocks { elem, .. } => elem,
        ParamKind::Table { .. } => return None,
    };
    let name = elem_type(elem);
    (elem != Elem::F32).then(|| quote! { .cast::<#name>() })
}

impl Writer<'_> {
    /// The function of a step, and its name.
    fn step(&mut self, step: &Step) -> Result<(Ident, TokenStream), Error> {
        let kernel = self.program.kernel(step);
        let name = self.names.fresh(step.layers.last().unwrap_or(&kernel.name));
        let args = kernel.params.iter().zip(&step.args).map(|(param, arg)| self.argument(&kernel.name, param, arg));
        let args = args.collect::<Result<Vec<_>, _>>()?;
        let description = match &step.layers[..] {
            [] => "No layer of its own.".to_owned(),
            layers => format!("Layers: {}.", layers.join(", ")),
        };
        let description = doc(&description);
        let safety = comment(
            "SAFETY: each argument lies in its memory with the extent that the kernel asks for, as the verifier proved.",
        );
        let (module, function) = (ident(&family(kernel)), ident(&snake(&kernel.name)));
        let function = quote! {
            #description
            unsafe fn #name(cx: &Context<'_>, lo: usize, hi: usize) {
                #safety
                unsafe { kernels::#module::#function(lo, hi, #(#args),*) }
            }
        };
        Ok((name, function))
    }

    fn argument(&mut self, kernel: &str, param: &Param, arg: &Arg) -> Result<TokenStream, Error> {
        match arg {
            Arg::Flat(region) => {
                let (base, offset) = self.place(*region);
                let cast = cast(param.kind);
                let moved = (offset.to_string() != "0").then(|| quote! { .add(#offset) });
                Ok(quote! { #base #cast #moved })
            }
            Arg::Table(table) => {
                let name = self.table(*table);
                Ok(quote! { #name.as_ptr() })
            }
            Arg::Blocks(regions) => {
                let too_far = || Error::Offset { kernel: kernel.to_owned(), param: param.name.clone() };
                let offsets = regions.iter().map(|region| u32::try_from(self.element(*region)).map_err(|_| too_far()));
                let offsets = offsets.collect::<Result<Vec<u32>, Error>>()?;
                let base = regions.first().map(|region| self.base(*region));
                let base = base.unwrap_or_else(|| quote! { cx.arena() });
                let wish = regions.first().map_or("none", |region| &self.program.buffer(region.buffer).name);
                let list = self.offsets(wish.split('[').next().unwrap_or(wish).to_owned(), offsets);
                let blocks = match param.kind {
                    ParamKind::Blocks { access: Access::Write | Access::Update, .. } => quote! { BlocksMut },
                    ParamKind::Blocks { access: Access::Read, .. }
                    | ParamKind::Flat { .. }
                    | ParamKind::Table { .. } => {
                        quote! { Blocks }
                    }
                };
                let cast = cast(param.kind);
                Ok(quote! { #blocks::new(#base #cast, &#list) })
            }
        }
    }

    /// The memory of a region, and its first element there as text: packed weights by name.
    fn place(&self, region: Region) -> (TokenStream, TokenStream) {
        let base = self.base(region);
        if let Place::Packed { weight, form } = self.program.buffer(region.buffer).place {
            let name = ident(&self.compiled.packing.names[self.compiled.packing.tensor(self.index, weight, form)]);
            let offset = Literal::usize_unsuffixed(region.offset);
            return (
                base,
                if region.offset == 0 {
                    quote! { weights::#name }
                } else {
                    quote! { weights::#name + #offset }
                },
            );
        }
        let element = Literal::usize_unsuffixed(self.element(region));
        (base, quote! { #element })
    }

    fn base(&self, region: Region) -> TokenStream {
        match &self.program.buffer(region.buffer).place {
            Place::Input(index) => {
                let index = Literal::usize_unsuffixed(*index);
                quote! { cx.input(#index) }
            }
            Place::Output(index) => {
                let index = Literal::usize_unsuffixed(*index);
                quote! { cx.output(#index) }
            }
            Place::Arena(_) => quote! { cx.arena() },
            Place::Scratch(_) => quote! { cx.scratch() },
            Place::Packed { .. } => quote! { cx.weights() },
        }
    }

    fn element(&self, region: Region) -> usize {
        let start = match &self.program.buffer(region.buffer).place {
            Place::Input(_) | Place::Output(_) => 0,
            Place::Arena(start) | Place::Scratch(start) => *start,
            Place::Packed { weight, form } => {
                let packing = &self.compiled.packing;
                packing.spans[packing.tensor(self.index, *weight, *form)].offset
            }
        };
        start + region.offset
    }

    /// The static that holds some offsets.
    fn offsets(&mut self, wish: String, offsets: Vec<u32>) -> Ident {
        if let Some(name) = self.offsets.get(&offsets) {
            return name.clone();
        }
        let name = self.list(&wish, &offsets);
        self.offsets.insert(offsets, name.clone());
        name
    }

    fn table(&mut self, table: TableId) -> Ident {
        if let Some(name) = self.tables.get(&table) {
            return name.clone();
        }
        let program = self.program;
        let crate::kernel::Table { name, values } = &program.tables[table.index()];
        let name = self.list(name, values);
        self.tables.insert(table, name.clone());
        name
    }

    fn list(&mut self, wish: &str, values: &[u32]) -> Ident {
        // Statics and functions have one namespace in Rust, but not one case.
        let name = ident(&upper(&self.names.fresh(&format!("{wish}_at")).to_string()));
        let len = Literal::usize_unsuffixed(values.len());
        let values = values.iter().map(|value| Literal::u32_unsuffixed(*value));
        self.statics.push(quote! { static #name: [u32; #len] = [#(#values),*]; });
        name
    }
}
