//! `--image`: how a photo becomes the first input, said on the command line. The settings are those of the language's
//! `image(…)`, and are read by it.

use std::collections::BTreeSet;

use kiln_compiler::front::{self, NoFiles, Overrides};
use kiln_compiler::graph::Preprocessing;

use crate::preprocess::Extents;
use crate::report::Failure;

/// Settings that have a name: of networks that torchvision trains on ImageNet, for an input of 224 by 224 pixels. Others
/// keep the same part of a photo.
const NAMED: [(&str, &str); 1] =
    [("imagenet", "resize=256 filter=bilinear crop=224 mean=0.485,0.456,0.406 std=0.229,0.224,0.225 range=1")];

/// What is said where a photo is given for a network that does not say how it becomes the input.
pub(crate) const HELP: &str = "say it with `--image imagenet`, or with what the network was trained with, as in\n\
    --image \"resize=256 crop=224 mean=0.485,0.456,0.406 std=0.229,0.224,0.225\"\n\
    A net of kiln's language may say it itself, in pixels from 0 to 255, as in\n\
    image(resize = 256, crop = 224, mean = [123.675, 116.28, 103.53], std = [58.395, 57.12, 57.375]);";

/// Reads a name of settings, or `resize=256 crop=224 mean=0.485,0.456,0.406 std=0.229,0.224,0.225`, for the input called
/// `name` of this shape. `mean` and `std` are in units of a pixel's `range`: from 0 to 1 as in torchvision, or from 0 to
/// 255 as in the language. Where it is not said, it is 1 if none of these numbers is above 1, and else 255.
///
/// # Errors
/// What is no setting, all that the language says of the settings, and an input that holds no photo.
pub(crate) fn preprocessing(text: &str, name: &str, shape: &[usize]) -> Result<Preprocessing, Failure> {
    let wrong = |what: String| {
        Failure::new(format!("`--image`: {what}")).help(
            "it takes `imagenet`, or some of resize, filter, crop, order, mean, std and range, as in\n\
         \"resize=256 filter=bicubic crop=224 order=rgb mean=0.485,0.456,0.406 std=0.229,0.224,0.225 range=1\"",
        )
    };
    let Extents { channels, height, width, .. } = Extents::of(name, shape)?;
    let text = NAMED.iter().find(|(name, _)| *name == text.trim()).map_or(text, |(_, settings)| settings);
    let mut numbers = Vec::new();
    let (mut settings, mut range) = (Vec::new(), None);
    let mut known = BTreeSet::new();
    for word in text.split_whitespace() {
        let Some((key, value)) = word.split_once('=') else {
            return Err(wrong(format!(
                "`{word}` is no setting, which are KEY=VALUE with spaces between, not around `=` and `,`"
            )));
        };
        if !known.insert(key) {
            return Err(wrong(format!("`{key}` is given twice")));
        }
        let parsed: Option<Vec<f64>> =
            value.split(',').map(|number| number.parse().ok().filter(|it: &f64| it.is_finite())).collect();
        match (key, parsed) {
            ("range", Some(of)) if of == [1.0] || of == [255.0] => range = Some(of[0]),
            ("range", _) => return Err(wrong(format!("pixels have the range 1 or 255, not `{value}`"))),
            ("mean" | "std", Some(of)) => numbers.push((key, of)),
            ("mean" | "std", None) => {
                return Err(wrong(format!("`{value}` is no number, or numbers with commas between")));
            }
            ("filter" | "order", _) if is_word(value) => settings.push(format!("{key} = \"{value}\"")),
            _ if is_word(key) && is_word(value) => settings.push(format!("{key} = {value}")),
            _ => return Err(wrong(format!("`{word}` is no setting"))),
        }
    }
    if known.is_empty() {
        return Err(wrong("there are no settings".to_owned()));
    }
    let is_fraction = !numbers.is_empty() && numbers.iter().flat_map(|(_, of)| of).all(|number| number.abs() <= 1.0);
    let unit = 255.0 / range.unwrap_or(if is_fraction { 1.0 } else { 255.0 });
    if numbers.is_empty() && range == Some(1.0) {
        numbers.push(("std", vec![1.0]));
    }
    for (key, of) in numbers {
        let numbers: Vec<String> = of.iter().map(|number| (number * unit).to_string()).collect();
        settings.push(match &numbers[..] {
            [one] => format!("{key} = {one}"),
            several => format!("{key} = [{}]", several.join(", ")),
        });
    }
    let net = format!(
        "pub net Photo(image: [1, {channels}, {height}, {width}]) {{ image({}); image.relu() }}",
        settings.join(", ")
    );
    let graph = front::parse_text("--image", &net)
        .and_then(|spec| front::elaborate(&spec, "Photo", &Overrides::default(), &NoFiles))
        .map_err(|error| wrong(Failure::from(error).messages().join("\n")))?;
    graph.preprocessing.ok_or_else(|| wrong("there are no settings".to_owned()))
}

/// Whether a text is one word or number, and nothing but that.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Preprocessing {
        preprocessing(text, "x", &[1, 3, 224, 224]).expect("settings")
    }

    fn refused(text: &str, words: &str) {
        let line = preprocessing(text, "x", &[1, 3, 224, 224]).expect_err("no settings").line();
        assert!(line.contains(words) && !line.contains("Photo"), "`{words}` in: {line}");
    }

    #[test]
    fn imagenet_is_what_torchvision_does() {
        let Preprocessing { resize, filter, crop, order, mean, std } = read("imagenet");
        assert_eq!((resize, filter.as_str(), crop, order.as_str()), (256, "bilinear", 224, "rgb"));
        let near = |of: &[f64], to: [f64; 3]| of.iter().zip(to).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(near(&mean, [123.675, 116.28, 103.53]) && near(&std, [58.395, 57.12, 57.375]), "{mean:?} {std:?}");
        assert_eq!(read(NAMED[0].1), read("imagenet"));
    }

    #[test]
    fn settings_are_the_languages_and_numbers_are_of_either_range() {
        let bgr = read("resize=232 crop=224 filter=bicubic order=bgr mean=127.5 std=128");
        assert_eq!(
            (bgr.filter.as_str(), bgr.order.as_str(), bgr.mean, bgr.std),
            ("bicubic", "bgr", vec![127.5], vec![128.0])
        );
        let half = read("mean=0.5 std=0.5");
        assert_eq!((half.resize, half.crop, half.mean, half.std), (224, 224, vec![127.5], vec![127.5]));
        let raw = read("crop=200 resize=200");
        assert_eq!((raw.mean, raw.std), (vec![0.0], vec![1.0]));
        let (whole, fraction) = (read("mean=0 std=1 range=255"), read("range=1"));
        assert_eq!((whole.mean, whole.std, fraction.std), (vec![0.0], vec![1.0], vec![255.0]));
        let tiny = read("std=0.00000001,0.5,1 mean=-0.25");
        assert_eq!((tiny.std[2], tiny.mean), (255.0, vec![-63.75]));
        let nhwc = preprocessing("crop=16", "x", &[1, 24, 32, 1]).expect("settings");
        assert_eq!((nhwc.crop, nhwc.resize), (16, 16));
    }

    #[test]
    fn what_is_no_setting_is_said() {
        refused("", "there are no settings");
        refused("inception", "`inception` is no setting");
        refused("resize = 256", "`resize` is no setting");
        refused("crop=224 crop=256", "`crop` is given twice");
        refused("mean=1,2", "`mean` of image has 2 numbers for an input of 3 channels");
        refused("mean=0.485,0.456,x", "is no number");
        refused("std=0", "`std` of image must not be 0");
        refused("std=inf", "is no number");
        refused("range=2", "1 or 255");
        refused("crop=300 resize=200", "does not fit");
        refused("filter=cubic", "cubic");
        refused("size=224", "size");
        refused("crop=1);x.conv(1", "is no setting");
        refused("crop=-3", "crop");
        let line = preprocessing("imagenet", "x", &[1, 1000]).expect_err("no photo").line();
        assert!(line.contains("a photo does not fit the input `x`"), "{line}");
    }
}
