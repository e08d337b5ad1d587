//! Places of texts in a picture: where they meet neither each other nor bubbles.

/// A rectangle, in pixels from the upper left corner of the picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

/// A bubble.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circle {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) radius: f64,
}

/// From a point to another.
pub(super) type Line = ((f64, f64), (f64, f64));

/// Where a name stands, and the line that leads to it, if it stands apart from its bubble.
pub(super) struct Place {
    pub(super) frame: Frame,
    pub(super) leader: Option<Line>,
    /// On which side of the bubble it stands: 1 right, -1 left, 0 above or below.
    pub(super) side: i8,
}

/// How far from its bubble a name may stand, the nearest first.
const DISTANCES: [f64; 8] = [0.0, 10.0, 20.0, 32.0, 46.0, 62.0, 80.0, 100.0];
/// From the bubble to the name, in turns: right, left, above, below, and between them.
const DIRECTIONS: [f64; 12] = [0.0, 0.5, 0.75, 0.25, 0.875, 0.125, 0.625, 0.375, 0.9375, 0.0625, 0.5625, 0.4375];
/// Pixels between a name and a bubble.
const GAP: f64 = 3.0;

impl Frame {
    fn meets(&self, other: &Frame) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn has(&self, (x, y): (f64, f64)) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }

    fn is_inside(&self, other: &Frame) -> bool {
        self.left >= other.left && self.right <= other.right && self.top >= other.top && self.bottom <= other.bottom
    }
}

impl Circle {
    fn has(&self, (x, y): (f64, f64)) -> bool {
        (self.x - x).hypot(self.y - y) <= self.radius
    }

    fn meets(&self, frame: &Frame) -> bool {
        let (x, y) = (self.x.clamp(frame.left, frame.right), self.y.clamp(frame.top, frame.bottom));
        (self.x - x).hypot(self.y - y) < self.radius
    }
}

/// The room that is left.
pub(super) struct Room {
    /// What texts must lie in.
    pub(super) inside: Frame,
    pub(super) texts: Vec<Frame>,
    pub(super) circles: Vec<Circle>,
    /// Lines that no name lies on. They may cross each other.
    pub(super) lines: Vec<Line>,
}

impl Room {
    /// Whether a text may stand there.
    pub(super) fn is_free(&self, frame: &Frame) -> bool {
        self.is_free_but_for_lines(frame) && !self.lines.iter().any(|&line| points(line).any(|point| frame.has(point)))
    }

    fn is_free_but_for_lines(&self, frame: &Frame) -> bool {
        frame.is_inside(&self.inside)
            && !self.texts.iter().any(|text| text.meets(frame))
            && !self.circles.iter().any(|circle| circle.meets(frame))
    }

    /// Takes the nearest place for a name of a size beside one of the bubbles, or none; with a line to it where it may
    /// stand apart. A name lies on a line before it is left out.
    pub(super) fn take(&mut self, of: &Circle, size: (f64, f64), may_stand_apart: bool) -> Option<Place> {
        let distances = &DISTANCES[..if may_stand_apart { DISTANCES.len() } else { 1 }];
        let places = distances.iter().flat_map(|&distance| DIRECTIONS.map(|turns| place(of, size, distance, turns)));
        let may_lead = |place: &Place| !place.leader.is_some_and(|line| self.is_crossed(of, line));
        let beside = || DIRECTIONS.into_iter().map(|turns| place(of, size, 0.0, turns));
        let place = places
            .into_iter()
            .find(|place| self.is_free(&place.frame) && may_lead(place))
            .or_else(|| beside().find(|place| self.is_free_but_for_lines(&place.frame)))?;
        self.texts.push(place.frame);
        self.lines.extend(place.leader);
        Some(place)
    }

    /// Whether a line from a bubble crosses a text, or another bubble, whose name it would seem to be; those that lie over
    /// the bubble are where none can lead past them.
    fn is_crossed(&self, of: &Circle, line: Line) -> bool {
        let apart = |other: &&Circle| (other.x - of.x).hypot(other.y - of.y) > other.radius + of.radius;
        points(line).any(|point| {
            self.texts.iter().any(|text| text.has(point))
                || self.circles.iter().filter(apart).any(|circle| circle.has(point))
        })
    }
}

/// The place of a name of a size so far from a bubble, in the direction of so many turns.
fn place(of: &Circle, (width, height): (f64, f64), distance: f64, turns: f64) -> Place {
    let (sin, cos) = (turns * std::f64::consts::TAU).sin_cos();
    let reach = of.radius + GAP + distance;
    let end = (of.x + reach * cos, of.y + reach * sin);
    let (left, top) = (end.0 - width * (1.0 - cos) / 2.0, end.1 - height * (1.0 - sin) / 2.0);
    let side = (1.5 * cos).round() as i8;
    Place {
        frame: Frame { left, top, right: left + width, bottom: top + height },
        leader: (distance > 0.0).then_some(((of.x, of.y), end)),
        side: side.clamp(-1, 1),
    }
}

/// Points of a line, no two of them farther apart than texts are high.
fn points((from, to): Line) -> impl Iterator<Item = (f64, f64)> {
    let parts = ((to.0 - from.0).hypot(to.1 - from.1) / 4.0).ceil().max(1.0) as u32;
    (0..=parts).map(move |i| {
        let part = f64::from(i) / f64::from(parts);
        (from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: Frame = Frame { left: 0.0, top: 0.0, right: 400.0, bottom: 200.0 };

    #[test]
    fn names_meet_neither_names_nor_bubbles() {
        let circles: Vec<Circle> = (0..12)
            .map(|i| Circle { x: 180.0 + 9.0 * f64::from(i % 4), y: 90.0 + 7.0 * f64::from(i / 4), radius: 8.0 })
            .collect();
        let mut room = Room { inside: INSIDE, texts: Vec::new(), lines: Vec::new(), circles: circles.clone() };
        let places: Vec<Place> = circles.iter().filter_map(|circle| room.take(circle, (60.0, 14.0), true)).collect();
        assert!(places.len() >= 8, "{} of 12 have a place", places.len());
        for (i, place) in places.iter().enumerate() {
            assert!(place.frame.is_inside(&INSIDE) && !circles.iter().any(|circle| circle.meets(&place.frame)));
            assert!(!places[..i].iter().any(|other| other.frame.meets(&place.frame)));
        }
    }

    #[test]
    fn a_name_stands_apart_only_where_it_may_and_beside_its_bubble_where_it_can() {
        let circle = Circle { x: 200.0, y: 100.0, radius: 10.0 };
        let alone = Room { inside: INSIDE, texts: Vec::new(), lines: Vec::new(), circles: vec![circle] }.take(
            &circle,
            (50.0, 14.0),
            true,
        );
        let alone = alone.expect("a place");
        assert_eq!((alone.frame.left, alone.frame.top, alone.leader), (213.0, 93.0, None));
        let ring = |i: i32| Circle {
            x: 200.0 + f64::from(i % 3 - 1) * 25.0,
            y: 100.0 + f64::from(i / 3 - 1) * 25.0,
            radius: 13.0,
        };
        let mut room =
            Room { inside: INSIDE, texts: Vec::new(), lines: Vec::new(), circles: (0..9).map(ring).collect() };
        assert!(room.take(&ring(4), (50.0, 14.0), false).is_none());
        assert!(room.take(&ring(4), (50.0, 14.0), true).is_some_and(|place| place.leader.is_some()));
    }
}
