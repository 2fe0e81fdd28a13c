//! The graph of small systems, and pictures of all kinds of them.

use std::path::Path;

use svg::node::element::tag::Type;
use svg::parser::Event;

use super::draw::svg;
use super::model::{Edge, Model, Relation, What};
use crate::board::DEFAULT;
use crate::image::{Manifest, read};

fn manifest(name: &str, kind: &str, more: &str) -> Manifest {
    let bindings = if kind == "object" { "max_bindings = 4\n" } else { "" };
    let text = format!(
        "[package]\nname = \"{name}\"\n[package.metadata.service]\nkind = \"{kind}\"\nstack = \"8K\"\n{bindings}{more}"
    );
    read(Path::new(&format!("services/{name}/Cargo.toml")), &text, DEFAULT).expect("well-formed")
}

fn system() -> [Manifest; 5] {
    [
        manifest(
            "shell",
            "program",
            "callees = [\"fs\", \"log&ger\"]\nspawns = [\"worker\"]\ncalls = [\"info\", \"time\"]",
        ),
        manifest("worker", "program", ""),
        manifest("fs", "object", "serial = true\nssr_pages = 1\ncommon = \"8K\"\ncallees = [\"log&ger\"]"),
        manifest(
            "log&ger",
            "object",
            "interrupts = [33]\nmmio = [{ address = 0x0900_0000, length = 0x1000 }, { address = 0x0b00_0000, length = 0x2000 }]",
        ),
        manifest("boss", "object", "role = \"supervisor\"\ncalls = [\"control\"]"),
    ]
}

fn model(manifests: &[Manifest]) -> Model {
    let all: Vec<&Manifest> = manifests.iter().collect();
    Model::of(&all, &all[..all.len().saturating_sub(1)], DEFAULT)
}

/// The texts of a picture, and the number of its paths and rectangles. It must be well-formed.
fn read_back(picture: &str) -> (Vec<String>, usize, usize) {
    let (mut texts, mut paths, mut rectangles, mut open) = (Vec::new(), 0, 0, Vec::new());
    for event in svg::read(picture).expect("SVG") {
        match event {
            Event::Error(error) => panic!("{error}: {picture}"),
            Event::Tag(tag, Type::End, _) => assert_eq!(open.pop().as_deref(), Some(tag)),
            Event::Tag(tag, kind, _) => {
                (paths, rectangles) = (paths + usize::from(tag == "path"), rectangles + usize::from(tag == "rect"));
                if kind == Type::Start {
                    open.push(tag.to_owned());
                }
            }
            Event::Text(text) if open.last().is_some_and(|tag| tag == "text") => texts.push(text.trim().to_owned()),
            _ => {}
        }
    }
    assert!(open.is_empty(), "{open:?} not closed");
    (texts, paths, rectangles)
}

#[test]
fn nodes_and_edges_are_those_of_the_manifests() {
    let model = model(&system());
    let edge = |from: &str, to: &str, relation| Edge { from: from.into(), to: to.into(), relation };
    assert_eq!(
        model.edges,
        [
            edge("shell", "fs", Relation::Calls),
            edge("shell", "log&ger", Relation::Calls),
            edge("shell", "worker", Relation::Spawns),
            edge("fs", "log&ger", Relation::Calls),
            edge("log&ger", "registers 0x09000000", Relation::Owns),
            edge("log&ger", "registers 0x0b000000", Relation::Owns),
            edge("log&ger", "interrupt 33", Relation::Owns),
        ]
    );
    let names: Vec<_> = model.nodes.iter().map(|node| node.name.as_str()).collect();
    let devices = ["registers 0x09000000", "registers 0x0b000000", "interrupt 33"];
    assert_eq!(names, [&["shell", "worker", "fs", "log&ger", "boss"][..], &devices].concat());
    let What::Service(fs) = &model.nodes[2].what else { panic!("fs is a service") };
    assert!(fs.serial && fs.booted && (fs.ssr, fs.common) == (4096, 8192) && fs.calls.is_empty());
    let What::Service(boss) = &model.nodes[4].what else { panic!("boss is a service") };
    assert_eq!(
        (boss.role, boss.booted, boss.calls.as_slice()),
        (Some("supervisor"), false, &["control".to_owned()][..])
    );
    assert_eq!(model.nodes[5].what, What::Registers { device: Some("UART PL011"), start: 0x0900_0000, length: 4096 });
}

#[test]
fn json_names_kinds() {
    let json = serde_json::to_value(model(&system())).expect("serialisable");
    assert_eq!(json["nodes"][0]["kind"], "program");
    assert_eq!(json["nodes"][0]["calls"], serde_json::json!(["time", "info"]));
    assert_eq!(json["nodes"][7], serde_json::json!({ "name": "interrupt 33", "kind": "interrupt", "number": 33 }));
    assert_eq!(json["edges"][2], serde_json::json!({ "from": "shell", "to": "worker", "kind": "spawns" }));
}

#[test]
fn everything_is_drawn() {
    let model = model(&system());
    let picture = svg("a < b", &model);
    let (texts, paths, rectangles) = read_back(&picture);
    for text in ["a &lt; b", "shell", "log&amp;ger", "time info", "role: supervisor", "UART PL011", "0x0b000000, 8 KiB"]
    {
        assert!(texts.iter().any(|found| found == text), "no {text:?} in {texts:?}");
    }
    // Heads of arrows and their samples: three each. A background, and a sample for each of six kinds.
    assert_eq!((paths, rectangles), (model.edges.len() + 6, model.nodes.len() + 7), "{picture}");
    assert_eq!(picture, svg("a < b", &model), "the same again");
}

#[test]
fn any_graph_is_drawn() {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize
    };
    read_back(&svg("nothing", &model(&[])));
    for _ in 0..60 {
        let count = 1 + random() % 20;
        let manifests: Vec<Manifest> = (0..count)
            .map(|index| {
                let callees: Vec<_> = (0..random() % 4).map(|_| format!("\"o{}\"", random() % count)).collect();
                manifest(&format!("o{index}"), "object", &format!("callees = [{}]", callees.join(", ")))
            })
            .collect();
        let model = model(&manifests);
        let (_, paths, _) = read_back(&svg("any", &model));
        assert!(paths >= model.edges.len(), "{paths} of {} edges", model.edges.len());
    }
}
