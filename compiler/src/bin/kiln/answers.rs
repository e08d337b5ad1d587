//! What a network says of each image, printed: as a table, CSV or JSON.

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
}

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
/// has null for its label.
pub(crate) fn json(net: &str, answers: &[Answer], labels: &Labels) -> Value {
    let images = answers.iter().map(|answer| {
        let classes = classes(answer).iter().map(|Ranked { class, probability }| {
            json!({ "class": class, "label": labels.get(*class), "probability": shortest(*probability) })
        });
        json!({ "file": answer.image, "classes": classes.collect::<Vec<_>>() })
    });
    json!({ "net": net, "images": images.collect::<Vec<_>>() })
}

/// The f64 that prints as an f32 does, without the digits that f32 does not hold; null for NaN, which JSON has not.
fn shortest(value: f32) -> Option<f64> {
    value.to_string().parse().ok().filter(|value: &f64| value.is_finite())
}

/// An answer's classes; CSV and JSON are not made of answers without.
fn classes(answer: &Answer) -> &[Ranked] {
    match &answer.said {
        Said::Classes(ranked) => ranked,
        Said::Numbers { .. } => &[],
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
}
