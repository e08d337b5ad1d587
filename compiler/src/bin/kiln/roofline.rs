//! The roofline (Williams, Waterman and Patterson 2009): each step by its operations a byte and its speed, under the peak of
//! multiply-adds and the levels of memory.

mod labels;

use std::fmt::Write;

use textwrap::{Options, WordSplitter};

use crate::bench::{Measured, StepTime};
use crate::profile::Level;
use labels::{Circle, Frame, Place, Room};

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
/// How far letters reach below the baseline.
const DESCENT: f64 = 0.2 * TEXT;
/// The part of the time from which on a bubble's name may stand apart from it, at the end of a line.
const LONG: f64 = 0.01;
/// The most characters of a name.
const LONGEST: usize = 40;

/// The steps that have a place: those with operations.
fn drawn(measured: &Measured) -> impl Iterator<Item = &StepTime> {
    measured.steps.iter().filter(|step| step.flops > 0 && step.ms > 0.0)
}

/// Operations a byte.
fn intensity(step: &StepTime) -> f64 {
    step.flops as f64 / step.bytes.max(1) as f64
}

/// The ranges of a plot whose axes are logarithmic.
struct Axes {
    /// Operations a byte.
    x: [f64; 2],
    /// Billions of operations a second.
    y: [f64; 2],
}

impl Axes {
    /// Ranges that hold all steps that are drawn, and where the peak meets the slowest memory.
    fn of(measured: &Measured, peak: f64, levels: &[Level]) -> Self {
        let (mut x, mut y) = ([f64::MAX, 0.0f64], [f64::MAX, 0.0f64]);
        let mut hold = |intensity: f64, speed: f64| {
            x = [x[0].min(intensity), x[1].max(intensity)];
            y = [y[0].min(speed), y[1].max(speed)];
        };
        drawn(measured).for_each(|step| hold(intensity(step), step.gflops()));
        let slowest = levels.iter().map(|level| level.bandwidth / 1e9).fold(f64::MAX, f64::min);
        if peak > 0.0 && slowest > 0.0 {
            hold(peak / slowest, peak);
        }
        if y[1] <= 0.0 {
            return Axes { x: [0.0625, 1024.0], y: [1e-3, 1.0] };
        }
        let power = |x: f64| 2f64.powf(x);
        Axes { x: [power((x[0] / 1.2).log2().floor()), power((x[1] * 1.2).log2().ceil())], y: [y[0] / 2.0, y[1] * 1.5] }
    }

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let along = |v: f64, [low, high]: [f64; 2]| (v.clamp(low, high) / low).ln() / (high / low).ln();
        let (width, height) = (WIDTH - 2.0 * SIDE, HEIGHT - TOP - BOTTOM);
        (SIDE + width * along(x, self.x), HEIGHT - BOTTOM - height * along(y, self.y))
    }
}

/// The frame of a text that begins at a place; the baseline is the bottom of most letters.
fn frame(left: f64, baseline: f64, text: &str) -> Frame {
    Frame { left, top: baseline - TEXT, right: left + width_of(text), bottom: baseline + DESCENT }
}

/// The most pixels that a text takes.
fn width_of(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER * TEXT
}

/// Draws the roofline. A bubble's area is the step's share of the time; the longest are named first, and all where there is
/// room. Steps without operations have no place.
pub(crate) fn roofline(measured: &Measured, levels: &[Level]) -> String {
    let peak = measured.peak.unwrap_or(0.0) / 1e9;
    let axes = Axes::of(measured, peak, levels);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"{TEXT}\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    title(&mut svg, measured);
    grid(&mut svg, &axes);
    let inside = Frame { left: SIDE, top: TOP, right: WIDTH - 4.0, bottom: HEIGHT - BOTTOM };
    let bubbles = bubbles(&axes, measured);
    let circles = bubbles.iter().map(|(_, circle)| *circle).collect();
    let mut room = Room { inside, texts: Vec::new(), circles, lines: Vec::new() };
    if peak > 0.0 {
        let words = format!("{peak:.0} GFLOP/s of multiply-adds");
        let (right, y) = axes.at(axes.x[1], peak);
        let left = right - width_of(&words);
        text(&mut svg, (left, y - 6.0), "start", "#aa4444", &words);
        room.texts.push(frame(left, y - 6.0, &words));
    }
    roofs(&mut svg, &axes, peak, levels, &mut room);
    draw(&mut svg, &bubbles);
    name(&mut svg, measured, &bubbles, &mut room);
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
    let total = total_ms(measured);
    let without = measured.steps.iter().filter(|step| step.flops == 0 || step.ms <= 0.0);
    let (count, ms) = without.fold((0, 0.0), |(count, ms), step| (count + 1, ms + step.ms));
    if count > 0 {
        let words = format!("not drawn: {count} steps without operations, {:.1} % of the time", 100.0 * ms / total);
        text(svg, (WIDTH - SIDE, HEIGHT - 14.0), "end", "#666666", &words);
    }
}

/// Lines at powers of two and ten, and the names of the axes.
fn grid(svg: &mut String, axes: &Axes) {
    let ([left, right], [bottom, top]) = (axes.x, axes.y);
    let (first, last) = (left.log2().round() as i32, right.log2().round() as i32);
    // Sixteen numbers have room beside each other.
    for power in (first..=last).step_by(1 + (last - first) as usize / 16) {
        let x = 2f64.powi(power);
        line(svg, axes.at(x, bottom), axes.at(x, top), "#eeeeee");
        let (px, py) = axes.at(x, bottom);
        let number = if power < 0 { format!("1/{}", 2f64.powi(-power)) } else { format!("{x}") };
        text(svg, (px, py + 16.0), "middle", "#222222", &number);
    }
    let mut y = 10f64.powf(bottom.log10().ceil());
    while y < top {
        line(svg, axes.at(left, y), axes.at(right, y), "#eeeeee");
        let (px, py) = axes.at(left, y);
        text(svg, (px - 6.0, py + 4.0), "end", "#222222", &format!("{y}"));
        y *= 10.0;
    }
    text(svg, (SIDE, HEIGHT - 14.0), "start", "#222222", "operations a byte");
    text(svg, (SIDE, TOP - 8.0), "middle", "#222222", "GFLOP/s");
}

/// The peak, and each level of memory with its name along it.
fn roofs(svg: &mut String, axes: &Axes, peak: f64, levels: &[Level], room: &mut Room) {
    let ([left, right], [bottom, top]) = (axes.x, axes.y);
    if peak > 0.0 {
        let (from, to) = (axes.at(left, peak), axes.at(right, peak));
        line(svg, from, to, "#aa4444");
        room.lines.push((from, to));
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
        room.lines.push((start, end));
        let words = format!("{} {bandwidth:.0} GB/s", level.name);
        let (x, y) = along(room, start, end, width_of(&words));
        let angle = (end.1 - start.1).atan2(end.0 - start.0).to_degrees();
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"#556688\" transform=\"rotate({angle:.1} {x:.1} {y:.1})\">{}</text>",
            escaped(&words)
        );
    }
}

/// Takes a place above a line for a text of a width along it, the nearest to its start that meets no other.
fn along(room: &mut Room, start: (f64, f64), end: (f64, f64), width: f64) -> (f64, f64) {
    let length = (end.0 - start.0).hypot(end.1 - start.1);
    let (dx, dy) = ((end.0 - start.0) / length, (end.1 - start.1) / length);
    // A turned text is a row of small frames, which do not reach down to its line.
    let at = |along: f64, above: f64| (start.0 + along * dx + above * dy, start.1 + along * dy - above * dx);
    let frames = |from: f64| -> Vec<Frame> {
        let parts = (width / TEXT).ceil() as usize;
        let middle = |part: usize| at(from + (part as f64 + 0.5) * width / parts as f64, 4.0 + TEXT / 2.0);
        let half = 0.5 * TEXT;
        let frame = |(x, y)| Frame { left: x - half, top: y - half, right: x + half, bottom: y + half };
        (0..parts).map(middle).map(frame).collect()
    };
    let starts = (0..).map(|i| 10.0 + 20.0 * f64::from(i)).take_while(|from| from + width < length);
    let free = starts.into_iter().find(|&from| frames(from).iter().all(|frame| room.is_free(frame)));
    let from = free.unwrap_or(10.0);
    room.texts.extend(frames(from));
    at(from, 4.0)
}

/// The steps, the longest first, with their places.
fn bubbles<'a>(axes: &Axes, measured: &'a Measured) -> Vec<(&'a StepTime, Circle)> {
    let total = total_ms(measured);
    let mut steps: Vec<&StepTime> = drawn(measured).collect();
    steps.sort_by(|a, b| b.ms.total_cmp(&a.ms));
    let circle = |step: &StepTime| {
        let (x, y) = axes.at(intensity(step), step.gflops());
        Circle { x, y, radius: 2.0 + 30.0 * (step.ms / total).sqrt() }
    };
    steps.into_iter().map(|step| (step, circle(step))).collect()
}

/// The bubbles, in an order in which small ones lie above large ones.
fn draw(svg: &mut String, bubbles: &[(&StepTime, Circle)]) {
    for (step, Circle { x, y, radius }) in bubbles {
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"#3366cc\" fill-opacity=\"0.35\" \
             stroke=\"#3366cc\"><title>{}: {}, {:.1} µs, {:.1} GFLOP/s</title></circle>",
            escaped(&step.layers.join(", ")),
            escaped(&step.kernel),
            step.ms * 1e3,
            step.gflops()
        );
    }
}

/// The names of the bubbles that have room for it, the longest steps first.
fn name(svg: &mut String, measured: &Measured, bubbles: &[(&StepTime, Circle)], room: &mut Room) {
    let total = total_ms(measured);
    for (step, circle) in bubbles {
        let name = shortened(step.layers.last().unwrap_or(&step.kernel));
        let size = (width_of(&name), TEXT + DESCENT);
        let Some(Place { frame, leader, side }) = room.take(circle, size, step.ms >= LONG * total) else { continue };
        if let Some((from, to)) = leader {
            line(svg, from, to, "#99aacc");
        }
        let (x, anchor) = match side {
            1 => (frame.left, "start"),
            -1 => (frame.right, "end"),
            _ => ((frame.left + frame.right) / 2.0, "middle"),
        };
        text(svg, (x, frame.bottom - DESCENT), anchor, "#112244", &name);
    }
}

fn total_ms(measured: &Measured) -> f64 {
    measured.steps.iter().map(|step| step.ms).sum()
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
            for (i, (words, left, right, y)) in texts.iter().enumerate() {
                let over = |(_, l, r, b): &&(String, f64, f64, f64)| l < right && left < r && (b - y).abs() < TEXT;
                assert_eq!(texts[..i].iter().find(over), None, "{words} lies over it");
            }
            let named = texts.iter().filter(|(words, ..)| words.starts_with("features.")).count();
            assert_eq!(svg.matches("<circle").count(), 22, "two steps have no operations");
            assert!(named >= 12, "{named} of 22 are named");
            assert!(svg.contains("not drawn: 2 steps without operations"));
            assert!(svg.contains("<title>features.0.conv: kernel_0"));
        }
    }
}
