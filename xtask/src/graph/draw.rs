//! The picture: `layout-rs` places boxes and routes edges, `svg` writes what it drew.

use layout::core::base::Orientation;
use layout::core::format::{ClipHandle, RenderBackend};
use layout::core::geometry::{Point, Position};
use layout::core::style::StyleAttr;
use layout::std_shapes::shapes::{Arrow, Element, ShapeKind};
use layout::topo::layout::VisualGraph;
use svg::Document;
use svg::node::element::{Definitions, Group, Marker, Path, Rectangle, Style, Text, Title};

use super::model::{Edge, Model, Node, Part, Relation, What};

/// Height of a line of small text, in pixels, as all lengths here.
const LINE: f64 = 15.0;
/// The same of a name.
const NAME: f64 = 20.0;
/// Mean width of a letter of small text, and of a bold one of a name: what sans-serif fonts have at most.
const LETTER: f64 = 6.6;
const BOLD: f64 = 9.5;
/// Room between a box and its text.
const INSET: f64 = 9.0;
/// Room between boxes, across and down: both halves of it together.
const GAP: (f64, f64) = (110.0, 50.0);
/// Room round everything.
const MARGIN: f64 = 20.0;
/// Mean width of a letter of the title.
const TITLE: f64 = 11.5;
/// The legend: columns, height of a row, width of a sample.
const LEGEND_COLUMNS: usize = 3;
const LEGEND_ROW: f64 = 24.0;
const LEGEND_SAMPLE: f64 = 40.0;
/// Kernel calls in a line of text.
const CALLS_A_LINE: usize = 4;

/// Colours by kind: fill, outline. The same lightness, and apart for colour-blind readers.
const STYLE: &str = "
text { font-family: 'DejaVu Sans', Verdana, Helvetica, Arial, sans-serif; font-size: 11px; fill: #222; text-anchor: middle }
.name { font-size: 15px; font-weight: bold }
.title { font-size: 18px; font-weight: bold; text-anchor: start }
.legend { text-anchor: start }
.program rect { fill: #dbe8f8; stroke: #2b6cb0 }
.service rect { fill: #e0f2e0; stroke: #2f7d3b }
.role rect { fill: #ece2f5; stroke: #6b46a8 }
.device rect { fill: #fdebd2; stroke: #b7671a }
.program rect, .service rect, .role rect, .device rect { stroke-width: 1.5 }
.serial rect { stroke-width: 4 }
.extra rect { stroke-dasharray: 3 3 }
path.edge { fill: none; stroke-width: 1.5 }
.calls { stroke: #4a5568 }
.spawns { stroke: #2b6cb0; stroke-dasharray: 7 4 }
.owns { stroke: #b7671a }
";

/// A box as it is drawn: size and text.
struct Shape {
    classes: String,
    name: String,
    lines: Vec<String>,
    tip: String,
}

impl Shape {
    fn of(node: &Node) -> Shape {
        let (kind, name, lines, tip) = match &node.what {
            What::Program(part) => (classes("program", part), node.name.clone(), lines(part), tip(part)),
            What::Service(part) => {
                let kind = if part.role.is_some() { "role" } else { "service" };
                (classes(kind, part), node.name.clone(), lines(part), tip(part))
            }
            What::Registers { device, start, length } => {
                let range = format!("{start:#010x}, {} KiB", length >> 10);
                (
                    "device".to_owned(),
                    device.unwrap_or("registers").to_owned(),
                    vec![range],
                    "device registers".to_owned(),
                )
            }
            What::Interrupt { .. } => ("device".to_owned(), node.name.clone(), Vec::new(), "interrupt line".to_owned()),
        };
        Shape { classes: kind, name, lines, tip }
    }

    fn size(&self) -> Point {
        let longest = self.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let width = (longest as f64 * LETTER).max(self.name.chars().count() as f64 * BOLD);
        Point::new(width + 2.0 * INSET, NAME + self.lines.len() as f64 * LINE + 2.0 * INSET)
    }

    fn draw(&self, corner: Point) -> Group {
        let (size, middle) = (self.size(), corner.x + self.size().x / 2.0);
        let frame = Rectangle::new().set("width", px(size.x)).set("height", px(size.y)).set("rx", 5);
        let first = corner.y + INSET + NAME - 5.0;
        let mut group = Group::new()
            .set("class", self.classes.as_str())
            .add(Title::new(&*self.tip))
            .add(frame.set("x", px(corner.x)).set("y", px(corner.y)))
            .add(text(&self.name, middle, first).set("class", "name"));
        for (index, line) in self.lines.iter().enumerate() {
            group = group.add(text(line, middle, first + (index + 1) as f64 * LINE));
        }
        group
    }
}

fn classes(kind: &str, part: &Part) -> String {
    let serial = if part.serial { " serial" } else { "" };
    let extra = if part.booted { "" } else { " extra" };
    format!("{kind}{serial}{extra}")
}

/// What a box says below the name.
fn lines(part: &Part) -> Vec<String> {
    let role = part.role.map(|role| format!("role: {role}"));
    role.into_iter().chain(part.calls.chunks(CALLS_A_LINE).map(|calls| calls.join(" "))).collect()
}

/// What it says when pointed at.
fn tip(part: &Part) -> String {
    let mut tip = part.manifest.display().to_string();
    for (bytes, what) in [(part.ssr, "SSR"), (part.common, "common region")] {
        if bytes > 0 {
            tip.push_str(&format!("\n{what} {} KiB", bytes >> 10));
        }
    }
    for (there, what) in [(part.serial, "serial"), (part.allow_reentry, "copes with Reentry")] {
        if there {
            tip.push_str(&format!("\n{what}"));
        }
    }
    tip
}

/// What the layout drew.
#[derive(Default)]
struct Canvas {
    /// Index of a node, and the top left corner of its box.
    boxes: Vec<(usize, Point)>,
    /// Index of an edge, and how it runs.
    arrows: Vec<(usize, Route)>,
}

/// The way of an edge.
struct Route {
    /// The first pair is its start and the control point behind it, each other one a control point and the point that
    /// it leads to.
    path: Vec<(Point, Point)>,
    /// Whether an arrow is at its start, and at its end.
    heads: (bool, bool),
}

/// The layout hands back the properties that nodes and edges were given: their indices.
fn index(properties: Option<String>) -> Option<usize> {
    properties?.parse().ok()
}

impl RenderBackend for Canvas {
    fn draw_rect(&mut self, xy: Point, _: Point, _: &StyleAttr, properties: Option<String>, _: Option<ClipHandle>) {
        self.boxes.extend(index(properties).map(|node| (node, xy)));
    }

    fn draw_arrow(
        &mut self,
        path: &[(Point, Point)],
        _: bool,
        head: (bool, bool),
        _: &StyleAttr,
        properties: Option<String>,
        _: &str,
    ) {
        self.arrows.extend(index(properties).map(|edge| (edge, Route { path: path.to_vec(), heads: head })));
    }

    // Texts are drawn with their boxes; the other shapes do not occur.
    fn draw_text(&mut self, _: Point, _: &str, _: &StyleAttr) {}
    fn draw_line(&mut self, _: Point, _: Point, _: &StyleAttr, _: Option<String>) {}
    fn draw_circle(&mut self, _: Point, _: Point, _: &StyleAttr, _: Option<String>) {}
    fn create_clip(&mut self, _: Point, _: Point, _: usize) -> ClipHandle {
        0
    }
}

/// Draws a graph under a title.
pub fn svg(title: &str, model: &Model) -> String {
    let shapes: Vec<Shape> = model.nodes.iter().map(Shape::of).collect();
    let canvas = place(model, &shapes);
    let mut drawing = Group::new();
    let (mut right, mut bottom) = (0f64, 0f64);
    for (edge, route) in &canvas.arrows {
        drawing = drawing.add(arrow(&model.edges[*edge], route));
        for (a, b) in &route.path {
            (right, bottom) = (right.max(a.x).max(b.x), bottom.max(a.y).max(b.y));
        }
    }
    for (node, corner) in &canvas.boxes {
        let (shape, size) = (&shapes[*node], shapes[*node].size());
        drawing = drawing.add(shape.draw(*corner));
        (right, bottom) = (right.max(corner.x + size.x), bottom.max(corner.y + size.y));
    }
    let top = MARGIN + 2.0 * NAME;
    let (legend, legend_width, height) = legend(model, &shapes, top + bottom + 2.5 * MARGIN);
    let inner = right.max(legend_width).max(title.chars().count() as f64 * TITLE);
    let (width, height) = (inner + 2.0 * MARGIN, height + MARGIN);
    let left = MARGIN + (inner - right) / 2.0;
    let drawing = drawing.set("transform", format!("translate({},{})", px(left), px(top)));
    let document = Document::new()
        .set("viewBox", (0, 0, width.ceil() as u32, height.ceil() as u32))
        .set("width", width.ceil())
        .set("height", height.ceil())
        .add(Style::new(STYLE))
        .add(heads())
        .add(Rectangle::new().set("width", "100%").set("height", "100%").set("fill", "white"))
        .add(text(title, MARGIN, MARGIN + NAME).set("class", "title"))
        .add(drawing)
        .add(legend);
    format!("{document}\n")
}

/// Lets the layout place boxes of these sizes and route the edges between them.
fn place(model: &Model, shapes: &[Shape]) -> Canvas {
    // Boxes are wider than high, and a row of them is wider than a column is high.
    let right = Orientation::LeftToRight;
    let mut graph = VisualGraph::new(right);
    let add = |(index, shape): (usize, &Shape)| {
        let (look, kind, size) = (StyleAttr::simple(), ShapeKind::new_box(""), shape.size());
        let mut element = Element::create_with_properties(kind, look, right, size, index.to_string());
        element.pos = Position::new(Point::zero(), size, Point::zero(), Point::new(GAP.0, GAP.1));
        graph.add_node(element)
    };
    let handles: Vec<_> = shapes.iter().enumerate().map(add).collect();
    let handle = |name: &str| model.nodes.iter().position(|node| node.name == name).map(|index| handles[index]);
    for (index, edge) in model.edges.iter().enumerate() {
        if let (Some(from), Some(to)) = (handle(&edge.from), handle(&edge.to)) {
            graph.add_edge(Arrow::simple_with_properties("", index.to_string()), from, to);
        }
    }
    let mut canvas = Canvas::default();
    if !handles.is_empty() {
        graph.do_it(false, false, false, &mut canvas);
    }
    canvas
}

fn class(relation: Relation) -> &'static str {
    match relation {
        Relation::Calls => "calls",
        Relation::Spawns => "spawns",
        Relation::Owns => "owns",
    }
}

fn arrow(edge: &Edge, route: &Route) -> Path {
    let point = |point: &Point| format!("{},{}", px(point.x), px(point.y));
    let mut data = String::new();
    for (index, (a, b)) in route.path.iter().enumerate() {
        data.push_str(&match index {
            0 => format!("M{} C{}", point(a), point(b)),
            1 => format!(" {} {}", point(a), point(b)),
            _ => format!(" S{} {}", point(a), point(b)),
        });
    }
    let class = class(edge.relation);
    let marker = format!("url(#{class})");
    let mut drawn = Path::new().set("d", data).set("class", format!("edge {class}"));
    if route.heads.0 {
        drawn = drawn.set("marker-start", marker.as_str());
    }
    if route.heads.1 {
        drawn = drawn.set("marker-end", marker.as_str());
    }
    drawn.add(Title::new(format!("{} {class} {}", edge.from, edge.to)))
}

/// Heads of arrows, in the colours of their edges.
fn heads() -> Definitions {
    let colours = [("calls", "#4a5568"), ("spawns", "#2b6cb0"), ("owns", "#b7671a")];
    colours.into_iter().fold(Definitions::new(), |all, (id, colour)| {
        let head = Path::new().set("d", "M0,0 L9,3.5 L0,7 z").set("fill", colour);
        let marker = Marker::new()
            .set("id", id)
            .set("markerUnits", "userSpaceOnUse")
            .set("markerWidth", 10)
            .set("markerHeight", 8)
            .set("refX", 9)
            .set("refY", 3.5)
            .set("orient", "auto-start-reverse");
        all.add(marker.add(head))
    })
}

/// What colours and lines mean, as far as they occur; with its width and its lower edge.
fn legend(model: &Model, shapes: &[Shape], top: f64) -> (Group, f64, f64) {
    let boxes = [
        ("program", "program", "program"),
        ("service", "service", "service: a protected object"),
        ("role", "role", "service that the kernel asks or tells"),
        ("serial", "service serial", "serial: kept whole by a request that uses it"),
        ("device", "device", "device registers, interrupt lines"),
        ("extra", "service extra", "not part of what cargo xtask run boots"),
    ];
    let lines = [
        (Relation::Calls, "may open sessions with, and call"),
        (Relation::Spawns, "may start"),
        (Relation::Owns, "owns, and nobody else does"),
    ];
    let has = |class: &str| shapes.iter().any(|shape| shape.classes.split(' ').any(|one| one == class));
    let boxes = boxes.into_iter().filter(|(class, ..)| has(class)).map(|(_, class, meaning)| {
        let sample = Rectangle::new().set("y", -11).set("width", 26).set("height", 15).set("rx", 3);
        (Group::new().set("class", class).add(sample), meaning)
    });
    let lines = lines.into_iter().filter(|(relation, _)| model.edges.iter().any(|edge| edge.relation == *relation));
    let lines = lines.map(|(relation, meaning)| {
        let class = class(relation);
        let line = Path::new().set("d", "M-4,-4 h34").set("class", format!("edge {class}"));
        (Group::new().add(line.set("marker-end", format!("url(#{class})"))), meaning)
    });
    let samples: Vec<_> = boxes.chain(lines).collect();
    let rows = samples.len().div_ceil(LEGEND_COLUMNS).max(1);
    let (mut group, mut x) = (Group::new(), MARGIN);
    let mut samples = samples.into_iter().peekable();
    while samples.peek().is_some() {
        let mut widest = 0;
        for (row, (sample, meaning)) in samples.by_ref().take(rows).enumerate() {
            let y = top + row as f64 * LEGEND_ROW;
            let sample = sample.set("transform", format!("translate({},{})", px(x), px(y)));
            group = group.add(sample).add(text(meaning, x + LEGEND_SAMPLE, y).set("class", "legend"));
            widest = widest.max(meaning.chars().count());
        }
        x += LEGEND_SAMPLE + widest as f64 * LETTER + MARGIN;
    }
    let bottom = top + rows as f64 * LEGEND_ROW;
    let note =
        "Small text: the kernel calls that need a right, and are granted. What is not drawn is refused by the kernel.";
    group = group.add(text(note, MARGIN, bottom).set("class", "legend"));
    (group, (x - MARGIN).max(note.chars().count() as f64 * LETTER), bottom)
}

fn text(content: &str, x: f64, y: f64) -> Text {
    Text::new(content).set("x", px(x)).set("y", px(y))
}

/// A length, to a tenth of a pixel: pictures of the same graph are the same text everywhere.
fn px(length: f64) -> f64 {
    (length * 10.0).round() / 10.0
}
