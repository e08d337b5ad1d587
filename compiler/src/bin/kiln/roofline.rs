//! The roofline (Williams, Waterman and Patterson 2009): each step by its operations a byte and its speed, under the peak of
//! multiply-adds and the levels of memory.

use std::fmt::Write;

use textwrap::{Options, WordSplitter};

use crate::bench::{Measured, StepTime};
use crate::profile::Level;

/// The picture, and the plot's margins in it: left and right, above, below. In pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 620.0;
const SIDE: f64 = 60.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 60.0;
/// The size of text, of the title's, and how wide a character is at most on average, by the size.
const TEXT: f64 = 12.0;
const TITLE: f64 = 15.0;
const CHARACTER: f64 = 0.58;
/// The most characters of a name.
const LONGEST: usize = 40;

/// The ranges of a plot whose axes are logarithmic.
struct Axes {
    /// Operations a byte.
    x: [f64; 2],
    /// Billions of operations a second.
    y: [f64; 2],
}

impl Axes {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let along = |v: f64, [low, high]: [f64; 2]| (v.clamp(low, high) / low).ln() / (high / low).ln();
        let (width, height) = (WIDTH - 2.0 * SIDE, HEIGHT - TOP - BOTTOM);
        (SIDE + width * along(x, self.x), HEIGHT - BOTTOM - height * along(y, self.y))
    }
}

/// A text's place, from its left end; the baseline is the bottom.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Frame {
    fn of(left: f64, baseline: f64, text: &str) -> Frame {
        let width = text.chars().count() as f64 * CHARACTER * TEXT;
        Frame { left, top: baseline - TEXT, right: left + width, bottom: baseline + 0.2 * TEXT }
    }

    fn meets(&self, other: &Frame) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn is_inside(&self) -> bool {
        self.left >= SIDE && self.right <= WIDTH - 4.0 && self.top >= TOP && self.bottom <= HEIGHT - BOTTOM
    }
}

/// Draws the roofline. A bubble's area is the step's share of the time; the longest are named first, and all where there is
/// room. Steps without operations have no place.
pub(crate) fn roofline(measured: &Measured, levels: &[Level]) -> String {
    let peak = measured.peak.unwrap_or(0.0) / 1e9;
    let fastest = measured.steps.iter().map(StepTime::gflops).fold(peak, f64::max).max(1e-3);
    let axes = Axes { x: [0.0625, 1024.0], y: [fastest / 512.0, fastest * 1.5] };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"{TEXT}\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    title(&mut svg, measured);
    grid(&mut svg, &axes);
    let mut taken = Vec::new();
    roofs(&mut svg, &axes, peak, levels);
    if peak > 0.0 {
        let words = format!("{peak:.0} GFLOP/s of multiply-adds");
        let (right, y) = axes.at(axes.x[1], peak);
        let left = right - words.chars().count() as f64 * CHARACTER * TEXT;
        text(&mut svg, (left, y - 6.0), "start", "#aa4444", &words);
        taken.push(Frame::of(left, y - 6.0, &words));
    }
    bubbles(&mut svg, &axes, measured, &mut taken);
    svg.push_str("</svg>\n");
    svg
}

/// The whole network's times, in as many lines as they take, and what the plot leaves out.
fn title(svg: &mut String, measured: &Measured) {
    let columns = ((WIDTH - 2.0 * SIDE) / (CHARACTER * TITLE)) as usize;
    let summary = measured.summary();
    let lines = textwrap::wrap(&summary, Options::new(columns).word_splitter(WordSplitter::NoHyphenation));
    // Writing to a String cannot fail.
    for (i, line) in lines.iter().take(3).enumerate() {
        let y = 24.0 + 19.0 * i as f64;
        let _ = writeln!(svg, "<text x=\"{SIDE}\" y=\"{y}\" font-size=\"{TITLE}\">{}</text>", escaped(line));
    }
    let total: f64 = measured.steps.iter().map(|step| step.ms).sum();
    let without = measured.steps.iter().filter(|step| step.flops == 0);
    let (count, ms) = without.fold((0, 0.0), |(count, ms), step| (count + 1, ms + step.ms));
    if count > 0 {
        let words = format!("not drawn: {count} steps without operations, {:.1} % of the time", 100.0 * ms / total);
        text(svg, (WIDTH - SIDE, HEIGHT - 14.0), "end", "#666666", &words);
    }
}

/// Lines at powers of two and ten, and the names of the axes.
fn grid(svg: &mut String, axes: &Axes) {
    let ([left, right], [bottom, top]) = (axes.x, axes.y);
    for i in -4..=10 {
        let x = 2f64.powi(i);
        line(svg, axes.at(x, bottom), axes.at(x, top), "#eeeeee");
        let (px, py) = axes.at(x, bottom);
        text(svg, (px, py + 16.0), "middle", "#222222", &format!("{x}"));
    }
    let mut y = 10f64.powf(bottom.log10().ceil());
    while y < top {
        line(svg, axes.at(left, y), axes.at(right, y), "#eeeeee");
        let (px, py) = axes.at(left, y);
        text(svg, (px - 6.0, py + 4.0), "end", "#222222", &format!("{y}"));
        y *= 10.0;
    }
    text(svg, (WIDTH / 2.0, HEIGHT - 14.0), "middle", "#222222", "operations a byte");
    text(svg, (SIDE, TOP - 8.0), "middle", "#222222", "GFLOP/s");
}

/// The peak, and each level of memory with its name along it.
fn roofs(svg: &mut String, axes: &Axes, peak: f64, levels: &[Level]) {
    let ([left, right], [bottom, top]) = (axes.x, axes.y);
    if peak > 0.0 {
        line(svg, axes.at(left, peak), axes.at(right, peak), "#aa4444");
    }
    let highest = if peak > 0.0 { peak } else { top };
    for level in levels {
        let bandwidth = level.bandwidth / 1e9;
        let (from, to) = ((bottom / bandwidth).max(left), (highest / bandwidth).min(right));
        if from >= to {
            continue;
        }
        let (start, end) = (axes.at(from, from * bandwidth), axes.at(to, to * bandwidth));
        line(svg, start, end, "#7788aa");
        let angle = (end.1 - start.1).atan2(end.0 - start.0).to_degrees();
        let (x, y) = (start.0 + 8.0, start.1 - 8.0);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"#556688\" transform=\"rotate({angle:.1} {x:.1} {y:.1})\">{}</text>",
            escaped(&format!("{} {bandwidth:.0} GB/s", level.name))
        );
    }
}

/// The steps, the longest first: the others lie above, and names find their places in that order.
fn bubbles(svg: &mut String, axes: &Axes, measured: &Measured, taken: &mut Vec<Frame>) {
    let total: f64 = measured.steps.iter().map(|step| step.ms).sum();
    let mut steps: Vec<&StepTime> = measured.steps.iter().filter(|step| step.flops > 0).collect();
    steps.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    let mut names = String::new();
    for step in steps {
        let (x, y) = axes.at(step.flops as f64 / step.bytes.max(1) as f64, step.gflops());
        let radius = 2.0 + 30.0 * (step.ms / total).sqrt();
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"#3366cc\" fill-opacity=\"0.35\" \
             stroke=\"#3366cc\"><title>{}: {}, {:.1} µs, {:.1} GFLOP/s</title></circle>",
            escaped(&step.layers.join(", ")),
            escaped(&step.kernel),
            step.ms * 1e3,
            step.gflops()
        );
        let name = shortened(step.layers.last().unwrap_or(&step.kernel));
        let width = name.chars().count() as f64 * CHARACTER * TEXT;
        let level = y + 0.35 * TEXT;
        let places = [
            (x + radius + 3.0, level),
            (x - radius - 3.0 - width, level),
            (x - width / 2.0, y - radius - 4.0),
            (x - width / 2.0, y + radius + TEXT),
        ];
        let free = |&(left, baseline): &(f64, f64)| {
            let frame = Frame::of(left, baseline, &name);
            frame.is_inside() && !taken.iter().any(|other| other.meets(&frame))
        };
        if let Some(place) = places.into_iter().find(free) {
            taken.push(Frame::of(place.0, place.1, &name));
            text(&mut names, place, "start", "#112244", &name);
        }
    }
    svg.push_str(&names);
}

fn shortened(name: &str) -> String {
    match name.char_indices().nth_back(LONGEST - 1) {
        Some((start, _)) if start > 0 => format!("…{}", &name[start..]),
        Some(_) | None => name.to_owned(),
    }
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, colour: &str, words: &str) {
    let words = escaped(words);
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{words}</text>");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use kiln_compiler::target::Target;

    use super::*;
    use crate::bench::LayerShape;
    use crate::profile::levels_for_test;

    fn measured(net: &str, steps: usize) -> Measured {
        let step = |i: usize| StepTime {
            layers: vec![format!("features.{i}.conv")],
            kernel: format!("kernel_{i}"),
            ms: 0.01 + 0.002 * (i * i % 17) as f64,
            flops: if i % 9 == 8 { 0 } else { 40_000 << (i % 8) },
            bytes: 30_000 + 5_000 * (i % 5),
            weight_bytes: 0,
            shape: LayerShape::Other,
        };
        Measured {
            net: net.to_owned(),
            target: Target::Avx512,
            threads: 2,
            runs: 100,
            median_ms: 1.25,
            min_ms: 1.0,
            peak: Some(120e9),
            steps: (0..steps).map(step).collect(),
        }
    }

    /// The ends of each text that is not turned, by an upper bound of its width.
    fn texts(svg: &str) -> Vec<(String, f64, f64, f64)> {
        let number = |line: &str, name: &str| -> Option<f64> {
            line.split_once(&format!(" {name}=\"")).and_then(|(_, rest)| rest.split_once('"')?.0.parse().ok())
        };
        let texts = svg.lines().filter(|line| line.starts_with("<text") && !line.contains("rotate"));
        texts
            .map(|line| {
                let words = line.split_once('>').and_then(|(_, rest)| rest.strip_suffix("</text>")).expect("words");
                let width = words.chars().count() as f64 * CHARACTER * number(line, "font-size").unwrap_or(TEXT);
                let (x, y) = (number(line, "x").expect("x"), number(line, "y").expect("y"));
                let left = match () {
                    () if line.contains("\"middle\"") => x - width / 2.0,
                    () if line.contains("\"end\"") => x - width,
                    () => x,
                };
                (words.to_owned(), left, left + width, y)
            })
            .collect()
    }

    #[test]
    fn title_and_labels_lie_inside_the_picture_and_bubbles_are_named() {
        for net in [
            "Net",
            "A model with a very long name, as exporters make them out of folders and of dates and of the people who ran them",
        ] {
            let svg = roofline(&measured(net, 24), &levels_for_test());
            let texts = texts(&svg);
            for (words, left, right, y) in &texts {
                assert!(
                    *left >= 0.0 && *right <= WIDTH && (10.0..=HEIGHT).contains(y),
                    "{words}: {left} to {right}, {y}"
                );
            }
            let named = texts.iter().filter(|(words, ..)| words.starts_with("features.")).count();
            assert_eq!(svg.matches("<circle").count(), 22, "two steps have no operations");
            assert!(named >= 12, "{named} of 22 are named");
            assert!(svg.contains("not drawn: 2 steps without operations"));
            assert!(svg.contains("<title>features.0.conv: kernel_0"));
        }
    }
}
