//! The AST of the network language, one for macro tokens and text. Every node knows its span.

use crate::diag::{Sources, Span};

/// A parsed source: its items in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// What the spans point into: file 0 is this source.
    pub sources: Sources,
    /// Documentation of the whole file, a line an element.
    pub docs: Vec<String>,
    /// The items in the order of the text.
    pub items: Vec<Item>,
}

/// What stands at the top level of a source.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `fn block(x, channels) { … }`
    Function(Function),
    /// `pub net Name(image: [1, 3, 224, 224]) { … }`
    Net(Net),
    /// `use "blocks.net";` or `use zoo::blocks;`: the functions and nets of another source.
    Use(Use),
    /// `pub use zoo::mobilenet_v2(width = 0.5) as MobileNetHalf;`
    Alias(Alias),
    /// What holds for the nets of this source: `image(resize = 256, …);`, how a photo becomes their input, and
    /// `weights(names = "keras");`, how their weights are called.
    Setting(Call),
}

/// A name where it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    /// The name.
    pub name: String,
    /// Where.
    pub span: Span,
}

/// A function, inlined wherever it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Documentation, a line an element.
    pub docs: Vec<String>,
    /// Its name.
    pub name: Ident,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Its body; the tail is the result.
    pub body: Block,
}

/// A network: a function whose parameters with shapes are inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Net {
    /// Whether other sources and the user see it.
    pub public: bool,
    /// The function.
    pub function: Function,
}

/// A parameter of a function or a net.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: Ident,
    /// The shape of a network input, logical N, C, H, W; it may use earlier parameters.
    pub shape: Option<Expr>,
    /// The value where a call gives none; it may use earlier parameters.
    pub default: Option<Expr>,
}

/// `use "blocks.net";` or `use zoo::blocks;`
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// Which source.
    pub source: SourcePath,
    /// The path as written.
    pub span: Span,
}

/// Where another source lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourcePath {
    /// A file, relative to the one that names it.
    File(String),
    /// A source that comes with kiln, by its name.
    Zoo(String),
}

/// `pub use PATH(args) as NAME;`: a net made from another by setting its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Alias {
    /// Documentation, a line an element.
    pub docs: Vec<String>,
    /// Whether other sources and the user see it.
    pub public: bool,
    /// The net, as a path, and its parameters.
    pub target: Call,
    /// The new name.
    pub name: Ident,
}

/// Statements in braces, and the value of the block.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The statements in order.
    pub stmts: Vec<Stmt>,
    /// The last expression, without a semicolon.
    pub tail: Option<Box<Expr>>,
    /// From brace to brace.
    pub span: Span,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// `let pattern = value;`
    Let {
        /// What is bound.
        pattern: Pattern,
        /// To what.
        value: Expr,
    },
    /// An expression for what it does.
    Expr(Expr),
}

/// A pattern of `let`, `for` or `match`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// What it is.
    pub kind: PatternKind,
    /// Where.
    pub span: Span,
}

/// The kinds of patterns.
#[derive(Clone, Debug, PartialEq)]
pub enum PatternKind {
    /// `_`
    Any,
    /// `name` or `mut name`
    Name {
        /// The variable.
        name: String,
        /// Whether it may be assigned.
        mutable: bool,
    },
    /// `(a, b)`
    Tuple(Vec<Pattern>),
    /// `[a, b]`
    Array(Vec<Pattern>),
    /// `3`, `-3`, `true` or `"text"`
    Literal(Literal),
    /// `1..=4`, both ends included.
    Range(i64, i64),
    /// `1 | 2`
    Or(Vec<Pattern>),
}

/// A literal in a pattern.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A string, taken as it stands.
    Str(String),
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// From its first to its last token.
    pub span: Span,
}

/// The kinds of expressions.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `3`
    Int(i64),
    /// `1.5`
    Float(f64),
    /// `true`
    Bool(bool),
    /// `"features.{i + 1}"`: text and values in turn.
    Str(Vec<Piece>),
    /// A variable.
    Name(String),
    /// `-x`, `!x`
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `place = value`, `place += value`
    Assign {
        /// The variable.
        place: Ident,
        /// The operator of a compound assignment.
        op: Option<BinaryOp>,
        /// The new value, or the right operand.
        value: Box<Expr>,
    },
    /// `f(a, b = c)`, or `x.f(b)`, which is `f(x, b)`
    Call(Call),
    /// `a[i]`
    Index(Box<Expr>, Box<Expr>),
    /// `t.0`
    Field(Box<Expr>, u32),
    /// `(a, b)`
    Tuple(Vec<Expr>),
    /// `[a, b]`
    Array(Vec<Expr>),
    /// `[value; count]`
    Repeat(Box<Expr>, Box<Expr>),
    /// `a..b` or `a..=b`
    Range {
        /// First.
        start: Box<Expr>,
        /// Last, or the one after it.
        end: Box<Expr>,
        /// Whether `end` belongs to it.
        inclusive: bool,
    },
    /// `if condition { … } else { … }`
    If {
        /// The condition.
        condition: Box<Expr>,
        /// What holds if it is true.
        then: Block,
        /// The block or the `if` after `else`.
        otherwise: Option<Box<Expr>>,
    },
    /// `match subject { pattern => value, … }`
    Match {
        /// What is looked at.
        subject: Box<Expr>,
        /// The arms; the first that fits is taken.
        arms: Vec<Arm>,
    },
    /// `for pattern in items { … }`
    For {
        /// What each item is bound to.
        pattern: Pattern,
        /// A range or an array.
        items: Box<Expr>,
        /// What is done for each.
        body: Block,
    },
    /// `{ … }`
    Block(Block),
    /// What could not be parsed; the mistake has been reported.
    Error,
}

/// A call of a function or an op.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The segments of its path: `["conv"]`, `["blocks", "conv_bn"]`.
    pub path: Vec<String>,
    /// The path, or the name of the method.
    pub path_span: Span,
    /// What stands before the dot.
    pub receiver: Option<Box<Expr>>,
    /// The arguments, named ones last.
    pub args: Vec<Arg>,
}

/// An argument of a call.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// The name before `=`.
    pub name: Option<Ident>,
    /// The value.
    pub value: Expr,
}

/// A part of a string.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// Text as it stands.
    Text(String),
    /// The value in braces.
    Value(Expr),
}

/// An arm of a `match`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// What it fits.
    pub pattern: Pattern,
    /// The condition after `if`.
    pub guard: Option<Expr>,
    /// Its value.
    pub value: Expr,
}

/// A prefix operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
}

/// An operator between two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `&&`
    And,
    /// `||`
    Or,
}

impl BinaryOp {
    /// The operator as it is written.
    pub fn sign(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Rem => "%",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::And => "&&",
            BinaryOp::Or => "||",
        }
    }
}

impl Spec {
    /// The functions of this source.
    pub fn functions(&self) -> impl Iterator<Item = &Function> {
        self.items.iter().filter_map(|item| match item {
            Item::Function(function) => Some(function),
            Item::Net(_) | Item::Use(_) | Item::Alias(_) | Item::Setting(_) => None,
        })
    }

    /// The nets written out in this source.
    pub fn nets(&self) -> impl Iterator<Item = &Net> {
        self.items.iter().filter_map(|item| match item {
            Item::Net(net) => Some(net),
            Item::Function(_) | Item::Use(_) | Item::Alias(_) | Item::Setting(_) => None,
        })
    }

    /// The nets made from others in this source.
    pub fn aliases(&self) -> impl Iterator<Item = &Alias> {
        self.items.iter().filter_map(|item| match item {
            Item::Alias(alias) => Some(alias),
            Item::Function(_) | Item::Net(_) | Item::Use(_) | Item::Setting(_) => None,
        })
    }
}
