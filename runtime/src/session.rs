//! Running a model: arena, scratch and workers of one caller.

use std::num::NonZero;
use std::{error, fmt, thread};

use super::arena::{AlignedBuf, OutOfMemory};
use super::model::Model;
use super::pool::Pool;
use super::run::{Memory, StepTime};
use super::tensor::{Counted, DType, Element, Elements, ElementsMut, TensorInfo, Were};

/// How many threads a session uses, the caller's among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    count: usize,
    exactly: bool,
}

impl Threads {
    /// The most threads of a session. A system starts more, but not without end: where its maps of memory run out, a
    /// thread that was started ends the process.
    pub const MOST: usize = 1024;

    /// `count` threads, but no more than there are processors for this program, as
    /// [`available_parallelism`](std::thread::available_parallelism) says: more would wait for each other.
    /// `Threads::new(Threads::MOST)` is one for each processor. 0 is an error of each run.
    pub const fn new(count: usize) -> Self {
        Self { count, exactly: false }
    }

    /// `count` threads, however many processors there are. 0, and more than [`Threads::MOST`], are an error of each run.
    pub const fn exactly(count: usize) -> Self {
        Self { count, exactly: true }
    }

    /// How many that is on this machine.
    ///
    /// # Errors
    /// No threads, or more than a session has.
    pub fn count(self) -> Result<usize, ThreadsError> {
        match self.count {
            1 => Ok(1),
            2.. if !self.exactly => {
                let processors = thread::available_parallelism().map_or(1, NonZero::get);
                Ok(self.count.min(processors).min(Self::MOST))
            }
            2..=Self::MOST => Ok(self.count),
            given => Err(ThreadsError { given }),
        }
    }
}

/// A number of threads that no session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadsError {
    /// That number.
    pub given: usize,
}

impl fmt::Display for ThreadsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a session has 1 to {} threads, but {} were asked for", Threads::MOST, self.given)
    }
}

impl error::Error for ThreadsError {}

/// What one caller needs to run a model, all of it made beforehand: a run allocates nothing, and with one thread it takes
/// no lock and makes no system call. Results are the same bits for any number of threads.
pub struct Session {
    model: Model,
    /// What it could not be made with is an error of each run.
    state: Result<State, NotReady>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (network, target) = (self.model.network().name(), self.model.target());
        let mut parts = f.debug_struct("Session");
        parts.field("network", &network).field("target", &target).field("threads", &self.threads());
        parts.finish_non_exhaustive()
    }
}

struct State {
    memory: Memory,
    pool: Pool,
    outputs: Vec<AlignedBuf>,
}

/// Why a session cannot run.
#[derive(Clone, Copy)]
enum NotReady {
    Threads(ThreadsError),
    Memory(OutOfMemory),
}

impl From<NotReady> for RunError {
    fn from(error: NotReady) -> Self {
        match error {
            NotReady::Threads(error) => Self::Threads(error),
            NotReady::Memory(error) => Self::OutOfMemory(error),
        }
    }
}

impl From<OutOfMemory> for NotReady {
    fn from(error: OutOfMemory) -> Self {
        Self::Memory(error)
    }
}

impl Session {
    pub(super) fn new(model: Model, threads: Threads) -> Self {
        let state = State::new(&model, threads);
        Self { model, state }
    }

    /// The model that it runs.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// How many threads it has: those asked for, or fewer where there are not so many processors or the system refused
    /// some.
    pub fn threads(&self) -> usize {
        self.state.as_ref().map_or(1, |state| state.pool.workers())
    }

    /// Whether it can run; where not, every run is this error.
    ///
    /// # Errors
    /// A number of threads that no session has, or memory that was not to be had.
    pub fn ready(&self) -> Result<(), RunError> {
        self.state.as_ref().map(|_| ()).map_err(|&error| error.into())
    }

    /// Runs a network of one input and returns its first output.
    ///
    /// # Errors
    /// A network with several inputs, an input of another length, or elements of another type on either side.
    pub fn run<I, O: Element>(&mut self, input: &[I]) -> Result<&[O], RunError>
    where
        for<'a> Elements<'a>: From<&'a [I]>,
    {
        if let Some(&tensor) = self.model.network().outputs().first()
            && tensor.dtype != O::DTYPE
        {
            return Err(RunError::Type { tensor, given: O::DTYPE });
        }
        let state = self.state.as_mut().map_err(|error| *error)?;
        state.bind_inputs(&self.model, &[input])?;
        state.bind_own_outputs();
        state.run(&self.model);
        Ok(self.first_output().and_then(O::elements).unwrap_or_default())
    }

    /// Runs with each input by its name, in any order; [`Session::output`] gives the results.
    ///
    /// # Errors
    /// An input that is unknown, given twice, missing, or of another length or type.
    pub fn run_named<'a>(&mut self, inputs: &[(&str, impl Into<Elements<'a>> + Copy)]) -> Result<(), RunError> {
        let infos = self.model.network().inputs();
        let state = self.state.as_mut().map_err(|error| *error)?;
        for (index, &(name, _)) in inputs.iter().enumerate() {
            if infos.iter().all(|info| info.name != name) {
                return Err(RunError::UnknownInput { name: name.to_owned(), known: infos });
            }
            if inputs[..index].iter().any(|&(other, _)| other == name) {
                return Err(RunError::RepeatedInput { name: name.to_owned() });
            }
        }
        for (index, &info) in infos.iter().enumerate() {
            let input = inputs.iter().find(|&&(name, _)| name == info.name);
            let &(_, input) = input.ok_or(RunError::MissingInput { input: info })?;
            let input = input.into();
            check(info, input)?;
            state.memory.bind_input(index, input.base());
        }
        state.bind_own_outputs();
        state.run(&self.model);
        Ok(())
    }

    /// Runs with inputs and outputs in the network's order, writing to the caller's memory. What [`Session::output`]
    /// gives is left as it was.
    ///
    /// # Errors
    /// Another number of inputs or outputs, or one of another length or type.
    pub fn run_into(&mut self, inputs: &[Elements<'_>], outputs: &mut [ElementsMut<'_>]) -> Result<(), RunError> {
        let infos = self.model.network().outputs();
        let state = self.state.as_mut().map_err(|error| *error)?;
        state.bind_inputs(&self.model, inputs)?;
        if outputs.len() != infos.len() {
            return Err(RunError::OutputCount { expected: infos.len(), given: outputs.len() });
        }
        for (index, (&info, output)) in infos.iter().zip(outputs).enumerate() {
            check(info, output.as_elements())?;
            state.memory.bind_output(index, output.base());
        }
        state.run(&self.model);
        Ok(())
    }

    /// Runs with inputs in the network's order and says how long each step took; [`Session::output`] gives the results.
    ///
    /// # Errors
    /// Another number of inputs, or one of another length or type.
    pub fn profile<'a>(&mut self, inputs: &[impl Into<Elements<'a>> + Copy]) -> Result<Vec<StepTime>, RunError> {
        let state = self.state.as_mut().map_err(|error| *error)?;
        state.bind_inputs(&self.model, inputs)?;
        state.bind_own_outputs();
        Ok(state.run_timed(&self.model))
    }

    /// Output `name` of the last run; zeros before the first. None where the network has no such output.
    pub fn output(&self, name: &str) -> Option<Elements<'_>> {
        let infos = self.model.network().outputs();
        let index = infos.iter().position(|info| info.name == name)?;
        Some(self.state.as_ref().ok()?.outputs[index].elements(infos[index].dtype, infos[index].len()))
    }

    fn first_output(&self) -> Option<Elements<'_>> {
        self.output(self.model.network().outputs().first()?.name)
    }
}

impl State {
    fn new(model: &Model, threads: Threads) -> Result<Self, NotReady> {
        let threads = threads.count().map_err(NotReady::Threads)?;
        let (inputs, outputs) = (model.network().inputs(), model.network().outputs());
        let pool = Pool::new(threads);
        let mut memory = Memory::new(model.plan(), pool.workers(), inputs.len(), outputs.len())?;
        memory.bind_weights(model.weights());
        let words = |info: &TensorInfo| (info.len() * info.dtype.size()).div_ceil(size_of::<f32>());
        let outputs = outputs.iter().map(|info| AlignedBuf::zeroed(words(info))).collect::<Result<_, OutOfMemory>>()?;
        Ok(Self { memory, pool, outputs })
    }

    fn bind_inputs<'a>(&mut self, model: &Model, inputs: &[impl Into<Elements<'a>> + Copy]) -> Result<(), RunError> {
        let infos = model.network().inputs();
        if inputs.len() != infos.len() {
            return Err(RunError::InputCount { expected: infos, given: inputs.len() });
        }
        for (index, (&info, &input)) in infos.iter().zip(inputs).enumerate() {
            let input = input.into();
            check(info, input)?;
            self.memory.bind_input(index, input.base());
        }
        Ok(())
    }

    fn bind_own_outputs(&mut self) {
        for (index, output) in self.outputs.iter().enumerate() {
            self.memory.bind_output(index, output.base());
        }
    }

    /// Runs the plan on what is bound. Every caller has bound all inputs and outputs, checked, from slices that are
    /// still borrowed, or from buffers of the session.
    #[allow(unsafe_code, reason = "the one call from safe code into a network's kernels")]
    fn run(&mut self, model: &Model) {
        // SAFETY: a model has only plans whose target is available. The memory was made for this plan and pool. Weights
        // live as long as the model, which the session keeps; inputs and outputs have the declared types and lengths, and outputs
        // are exclusively borrowed slices or the session's own buffers, of which no slice is alive under &mut self. The
        // steps are right by the contract of Network::new.
        unsafe { model.plan().run(&self.memory, &mut self.pool) }
    }

    /// Runs as [`State::run`] does, and says how long each step took.
    #[allow(unsafe_code, reason = "as in run")]
    fn run_timed(&mut self, model: &Model) -> Vec<StepTime> {
        // SAFETY: as in run.
        unsafe { model.plan().run_timed(&self.memory, &mut self.pool) }
    }
}

fn check(tensor: TensorInfo, given: Elements<'_>) -> Result<(), RunError> {
    if given.dtype() != tensor.dtype {
        return Err(RunError::Type { tensor, given: given.dtype() });
    }
    if given.len() != tensor.len() {
        return Err(RunError::Length { tensor, given: given.len() });
    }
    Ok(())
}

/// Why a run was refused. Nothing was computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunError {
    /// An input or output of another length.
    Length {
        /// The tensor.
        tensor: TensorInfo,
        /// The length that was given.
        given: usize,
    },
    /// Elements of another type.
    Type {
        /// The tensor.
        tensor: TensorInfo,
        /// The type that was given.
        given: DType,
    },
    /// Another number of inputs.
    InputCount {
        /// The network's inputs.
        expected: &'static [TensorInfo],
        /// How many were given.
        given: usize,
    },
    /// Another number of outputs.
    OutputCount {
        /// How many the network has.
        expected: usize,
        /// How many were given.
        given: usize,
    },
    /// An input that the network does not have.
    UnknownInput {
        /// Its name.
        name: String,
        /// The network's inputs.
        known: &'static [TensorInfo],
    },
    /// An input that was given twice.
    RepeatedInput {
        /// Its name.
        name: String,
    },
    /// An input that was not given.
    MissingInput {
        /// The input.
        input: TensorInfo,
    },
    /// The session was asked for with a number of threads that none has.
    Threads(ThreadsError),
    /// There was no memory for the session.
    OutOfMemory(OutOfMemory),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |infos: &[TensorInfo]| infos.iter().map(TensorInfo::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Length { tensor, given } => {
                write!(
                    f,
                    "`{}` has shape {}, {}, but {} given",
                    tensor.name,
                    shape(tensor),
                    Counted(tensor.len(), "element"),
                    Were(*given)
                )
            }
            Self::Type { tensor, given } => {
                write!(f, "`{}` has elements of type {}, but {given} were given", tensor.name, tensor.dtype)
            }
            Self::InputCount { expected, given } => {
                let inputs = Counted(expected.len(), "input");
                write!(f, "the network has {inputs}, {}, but {} given", list(expected), Were(*given))
            }
            Self::OutputCount { expected, given } => {
                write!(f, "the network has {}, but {} given", Counted(*expected, "output"), Were(*given))
            }
            Self::UnknownInput { name, known } => {
                write!(f, "the network has no input `{name}`; its inputs are {}", list(known))
            }
            Self::RepeatedInput { name } => write!(f, "input `{name}` was given twice"),
            Self::MissingInput { input } => {
                write!(f, "input `{}` with shape {} was not given", input.name, shape(input))
            }
            Self::Threads(error) => error.fmt(f),
            Self::OutOfMemory(error) => error.fmt(f),
        }
    }
}

fn shape(tensor: &TensorInfo) -> String {
    let extents: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
    format!("[{}]", extents.join("x"))
}

impl error::Error for RunError {}
