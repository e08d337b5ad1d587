//! What a network says of each image, printed: as a table, CSV or JSON.

use std::ops::Range;

use kiln_compiler::graph::{DType, Elements};
use serde_json::{Value, json};

use crate::classes::{Labels, Ranked};
use crate::inspect::aligned;

/// What a network says of one image.
pub(crate) struct Answer {
    /// The file of the image, or another name of the input.
    pub(crate) image: String,
    pub(crate) said: Said,
}

/// An output for one image.
pub(crate) enum Said {
    /// The most probable classes, the first first.
    Classes(Vec<Ranked>),
    /// The shape and the first few numbers of an output that has no classes.
    Numbers { shape: Vec<usize>, first: Vec<f32> },
    /// All outputs.
    Outputs(Vec<Output>),
}

/// An output with all of its numbers, or the first where they are many.
pub(crate) struct Output {
    name: String,
    shape: Vec<usize>,
    dtype: DType,
    numbers: Vec<Value>,
}

/// The most numbers that are all in JSON, and how many are of an output that has more.
const ALL: usize = 1000;
const FIRST: usize = 8;

/// Columns for people: class, probability, on a terminal a bar, name; before them the image where there are several.
pub(crate) fn table(answers: &[Answer], labels: &Labels, bars: bool) -> String {
    let mut rows = Vec::new();
    for answer in answers {
        let image = if answers.len() > 1 { answer.image.replace(char::is_control, "\u{fffd}") } else { String::new() };
        match &answer.said {
            Said::Classes(ranked) => rows.extend(ranked.iter().enumerate().map(|(i, ranked)| {
                [
                    if i == 0 { image.clone() } else { String::new() },
                    format!("{:>5}", ranked.class),
                    format!("{:.3}", ranked.probability),
                    if bars { bar(ranked.probability) } else { String::new() },
                    labels.get(ranked.class).unwrap_or_default().to_owned(),
                ]
            })),
            Said::Numbers { shape, first } => {
                rows.push([image, format!("{shape:?}: {first:?}"), String::new(), String::new(), String::new()]);
            }
            // These are made for JSON.
            Said::Outputs(_) => {}
        }
    }
    aligned(&rows, &[1, 2])
}

/// A bar of up to twenty characters, in eighths of a character.
fn bar(share: f32) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share.clamp(0.0, 1.0) * 160.0).round() as usize;
    format!("{}{}", "█".repeat(eighths / 8), PARTS[eighths % 8])
}

/// `file,rank,class,label,probability`, with a header; ranks begin at 1. Quoted as in RFC 4180, with bare newlines.
pub(crate) fn csv(answers: &[Answer], labels: &Labels) -> String {
    let mut text = String::from("file,rank,class,label,probability\n");
    for answer in answers {
        let file = field(&answer.image);
        for (rank, Ranked { class, probability }) in (1..).zip(classes(answer)) {
            let label = field(labels.get(*class).unwrap_or_default());
            text.push_str(&format!("{file},{rank},{class},{label},{probability}\n"));
        }
    }
    text
}

fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

/// `{"net": …, "images": [{"file": …, "classes": [{"class": …, "label": …, "probability": …}]}]}`; a class without a name
/// has null for its label. Without classes, `"outputs": [{"name": …, "shape": …, "dtype": …, "numbers": …}]` stands for
/// them: `numbers` in row-major order, or `first`, the first of them, where there are more than a thousand.
pub(crate) fn json(net: &str, answers: &[Answer], labels: &Labels) -> Value {
    let images = answers.iter().map(|answer| {
        if let Said::Outputs(outputs) = &answer.said {
            return json!({ "file": answer.image, "outputs": outputs.iter().map(Output::object).collect::<Vec<_>>() });
        }
        let classes = classes(answer).iter().map(|Ranked { class, probability }| {
            json!({ "class": class, "label": labels.get(*class), "probability": shortest(*probability) })
        });
        json!({ "file": answer.image, "classes": classes.collect::<Vec<_>>() })
    });
    json!({ "net": net, "images": images.collect::<Vec<_>>() })
}

impl Output {
    /// The output of this shape whose numbers begin at `start` of `values`.
    pub(crate) fn new(name: String, shape: Vec<usize>, values: &Elements, start: usize) -> Self {
        fn json_of<T: Copy>(values: &[T], place: Range<usize>, json: impl Fn(T) -> Value) -> Vec<Value> {
            values[place].iter().map(|&value| json(value)).collect()
        }
        let len = shape.iter().product();
        let place = start..start + if len <= ALL { len } else { FIRST };
        let numbers = match values {
            Elements::F32(v) => json_of(v, place, |v| json!(shortest(v))),
            Elements::F64(v) => json_of(v, place, |v| json!(v)),
            Elements::I64(v) => json_of(v, place, |v| json!(v)),
            Elements::I32(v) => json_of(v, place, |v| json!(v)),
            Elements::I8(v) => json_of(v, place, |v| json!(v)),
            Elements::U8(v) => json_of(v, place, |v| json!(v)),
            Elements::Bool(v) => json_of(v, place, |v| json!(v)),
        };
        Output { name, shape, dtype: values.dtype(), numbers }
    }

    fn object(&self) -> Value {
        let is_whole = self.numbers.len() == self.shape.iter().product::<usize>();
        let key = if is_whole { "numbers" } else { "first" };
        json!({ "name": self.name, "shape": self.shape, "dtype": self.dtype.to_string(), key: self.numbers })
    }
}

/// The f64 that prints as an f32 does, without the digits that f32 does not hold; null for NaN, which JSON has not.
fn shortest(value: f32) -> Option<f64> {
    value.to_string().parse().ok().filter(|value: &f64| value.is_finite())
}

/// An answer's classes; CSV is not made of answers without.
fn classes(answer: &Answer) -> &[Ranked] {
    match &answer.said {
        Said::Classes(ranked) => ranked,
        Said::Numbers { .. } | Said::Outputs(_) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers() -> Vec<Answer> {
        let ranked = |class, probability| Ranked { class, probability };
        let said = |classes: &[Ranked]| Said::Classes(classes.to_vec());
        vec![
            Answer { image: "a.png".to_owned(), said: said(&[ranked(282, 0.75), ranked(7, 0.0625)]) },
            Answer { image: "b, \"c\".png".to_owned(), said: said(&[ranked(0, f32::NAN)]) },
        ]
    }

    #[test]
    fn a_table_has_bars_on_a_terminal_and_names_where_there_are_several() {
        let (answers, labels) = (answers(), Labels::default());
        assert_eq!(table(&answers[..1], &labels, false), "  282  0.750\n    7  0.062\n");
        assert_eq!(table(&answers[..1], &labels, true), "  282  0.750  ███████████████\n    7  0.062  █▎\n");
        let names = "a.png         282  0.750\n                7  0.062\nb, \"c\".png      0    NaN\n";
        assert_eq!(table(&answers, &labels, false), names);
        let said = Said::Numbers { shape: vec![1, 2, 1], first: vec![1.0, -0.5] };
        let numbers = Answer { image: "a.png".to_owned(), said };
        assert_eq!(table(&[numbers], &labels, true), "[1, 2, 1]: [1.0, -0.5]\n");
    }

    #[test]
    fn csv_is_quoted_and_json_has_the_digits_of_f32() {
        let (mut answers, labels) = (answers(), Labels::default());
        let header = "file,rank,class,label,probability\n";
        let rows = "a.png,1,282,,0.75\na.png,2,7,,0.0625\n\"b, \"\"c\"\".png\",1,0,,NaN\n";
        assert_eq!(csv(&answers, &labels), format!("{header}{rows}"));
        answers[0].said = Said::Classes(vec![Ranked { class: 1, probability: 0.1 }]);
        let text = r#"{"net":"N","images":[{"file":"a.png","classes":[{"class":1,"label":null,"probability":0.1}]},"#;
        let rest = r#"{"file":"b, \"c\".png","classes":[{"class":0,"label":null,"probability":null}]}]}"#;
        assert_eq!(json("N", &answers, &labels).to_string(), format!("{text}{rest}"));
    }

    #[test]
    fn json_has_all_numbers_of_an_output_or_the_first() {
        let output = |elements: Elements| Output::new("y".to_owned(), vec![elements.len()], &elements, 0);
        let outputs = vec![
            output(Elements::F32(vec![0.1, f32::NAN])),
            output(Elements::I64(vec![i64::MIN])),
            output(Elements::U8(vec![7; 1001])),
        ];
        let answers = [Answer { image: "x.npy".to_owned(), said: Said::Outputs(outputs) }];
        let text = r#"{"net":"N","images":[{"file":"x.npy","outputs":[{"name":"y","shape":[2],"dtype":"f32","numbers":[0.1,null]},"#;
        let rest = r#"{"name":"y","shape":[1],"dtype":"i64","numbers":[-9223372036854775808]},"#;
        let last = r#"{"name":"y","shape":[1001],"dtype":"u8","first":[7,7,7,7,7,7,7,7]}]}]}"#;
        assert_eq!(json("N", &answers, &Labels::default()).to_string(), format!("{text}{rest}{last}"));
    }
}
