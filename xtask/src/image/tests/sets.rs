//! Manifests as a set: each reason for a refusal.

use super::*;

#[test]
fn references_must_lead_somewhere() {
    one_problem(&[object("a", "callees = [\"b\"]")], "services/a/Cargo.toml:8:", "\"b\"");
    one_problem(&[program("p", "\nspawns = [\"q\"]")], "services/p/Cargo.toml:8:", "\"q\"");
    one_problem(&[object("a", "callees = [\"p\"]"), program("p", "")], "services/a/Cargo.toml:8:", "no service");
    one_problem(
        &[object("a", "common = \"4K\"\nundo_pages = 1\ncommon_blob = \"tape\"")],
        "services/a/Cargo.toml:10:",
        "tape",
    );
    one_problem(&[object("a", "common_blob = \"disk\"")], "services/a/Cargo.toml:8:", "without a common region");
}

#[test]
fn numbers_must_make_sense() {
    let cases = [
        ("heap = 100", "whole pages"),
        ("heap = \"7M\"", "room for"),
        ("undo_pages = 1\ncommon = \"14M\"", "room for"),
        ("common = \"4K\"", "undo_pages"),
        ("undo_pages = 1\nssr_pages = 257", "at most"),
        ("ssr_pages = 2", "undo_pages"),
        ("budget = 1", "at least 2"),
        ("hook_budget = 0", "at least 2"),
        ("priority = 8", "0 (lowest) to 7"),
        ("blame_limit = 0", "blame_limit"),
    ];
    for (more, text) in cases {
        let found = problems(&[object("a", more)]);
        assert!(found.len() == 1 && found[0].contains(text), "{more}: {found:?}");
    }
    let none = manifest("a", "kind = \"object\"\nstack = 0\nmax_bindings = 0").expect("well-formed");
    assert_eq!(problems(&[none]).len(), 2);
    one_problem(&[object("a-name-of-17-char", "")], "services/a-name-of-17-char/Cargo.toml:", "16");
    assert_eq!(problems(&[object("twice", ""), object("twice", "")]).len(), 2);
}

#[test]
fn a_role_has_one_holder() {
    let holder = |name: &str, role: &str| object(name, &format!("role = \"{role}\"\ncalls = [\"info\", \"control\"]"));
    assert_eq!(problems(&[holder("a", "scheduler"), holder("b", "supervisor")]), Vec::<String>::new());
    for role in ["scheduler", "supervisor"] {
        let two = [holder("a", role), holder("b", role)];
        one_problem(&two, "services/b/Cargo.toml:8:", &format!("a is the {role} already"));
    }
}

#[test]
fn registers_belong_to_one_service() {
    let uart = "mmio = [{ address = 0x0900_0000, length = 0x1000 }]";
    assert_eq!(
        problems(&[object("a", uart), object("b", "mmio = [{ address = 0x0901_0000, length = 0x1000 }]")]),
        Vec::<String>::new()
    );
    one_problem(&[object("a", uart), object("b", uart)], "services/b/Cargo.toml:8:", "a (services/a/Cargo.toml:8)");
    one_problem(
        &[object("a", "mmio = [{ address = 0x0800_0000, length = 0x1000 }]")],
        "services/a/Cargo.toml:8:",
        "interrupt controller",
    );
    for address in ["0x4000_0000", "0x47ff_f000"] {
        let range = format!("mmio = [{{ address = {address}, length = 0x1000 }}]");
        one_problem(&[object("a", &range)], "services/a/Cargo.toml:8:", "memory");
    }
    for range in ["{ address = 0x0900_0100, length = 0x1000 }", "{ address = 0x0900_0000, length = 0 }"] {
        one_problem(&[object("a", &format!("mmio = [{range}]"))], "services/a/Cargo.toml:8:", "whole pages");
    }
    assert!(manifest("a", "mmio = [{ address = 0, length = 0x1000, prefetch = 1 }]").is_err());
}

#[test]
fn interrupts_belong_to_one_service() {
    assert_eq!(
        problems(&[object("a", "interrupts = [33, 34]"), object("b", "interrupts = [32]")]),
        Vec::<String>::new()
    );
    let both = [object("a", "interrupts = [33]"), object("b", "interrupts = [40,\n33]")];
    one_problem(&both, "services/b/Cargo.toml:9:", "interrupt 33: a (services/a/Cargo.toml:8) has it too");
    one_problem(&[object("a", "interrupts = [33, 33]")], "services/a/Cargo.toml:8:", "has it too");
    let cases = [
        ("interrupts = [30]", "the kernel's tick"),
        ("interrupts = [27]", "the processor's own"),
        ("interrupts = [288]", "does not exist on virt"),
        ("interrupts = [32, 33, 34, 35, 36]", "at most 4"),
        ("interrupts = [33]\ninterrupt_rate = 0", "interrupt_rate 0"),
        ("interrupt_rate = 7", "without interrupts"),
    ];
    let checked = "mmio = [{ address = 0x0901_0000, length = 0x1000, checked = true }]\n";
    let dma = format!("{checked}dma = \"16K\"\n");
    let rule = |rule: &str| format!("{checked}registers = [{{ {rule} }}]");
    let cases_of_dma = [
        ("dma = \"16K\"".to_owned(), "to be `checked`"),
        (format!("{checked}dma = 5000"), "whole pages"),
        (format!("{checked}dma = \"1M\""), "at most 960 KiB"),
        (format!("{dma}dma_tables = [4]\ndescriptors = 1"), "page 4 is none of the first 4"),
        (format!("{dma}dma_tables = [0]"), "descriptors: 1 to 256"),
        (format!("{dma}descriptors = 4"), "descriptors: 1 to 256"),
        (format!("{dma}dma_tables = [0]\ndescriptors = 257"), "descriptors: 1 to 256"),
        (rule("register = 0x1000, value = 1"), "no word of a checked"),
        (rule("register = 2, value = 1"), "no word of a checked"),
        (
            "mmio = [{ address = 0x0901_0000, length = 0x1000 }]\nregisters = [{ register = 0, value = 1 }]".to_owned(),
            "no word of a checked",
        ),
        (rule("register = 4"), "may hold what?"),
        (rule("register = 4, value = 1, holds = \"any\""), "both"),
        (rule("register = 4, value = 1, shift = 1"), "for addresses"),
        (rule("register = 4, holds = \"table\", shift = 13"), "12 bits"),
        (rule("register = 4, value = 1 }, { register = 4, value = 2"), "a rule already"),
        (format!("{checked}registers = [{}]", "{ register = 4, value = 1 }, ".repeat(13)), "at most 12 rules"),
    ];
    for (more, text) in cases_of_dma {
        let found = problems(&[object("a", &more)]);
        assert!(found.iter().any(|problem| problem.contains(text)), "{more}: {found:?}");
    }
    for (more, text) in cases {
        one_problem(&[object("a", more)], "services/a/Cargo.toml:", text);
    }
    assert!(manifest("p", "kind = \"program\"\nstack = \"8K\"\ninterrupts = [33]").is_err());
}

#[test]
fn rights_fit_who_has_them() {
    let cases = [
        ("calls = [\"time\",\n\"pause\"]", 9, "pause is for programs"),
        ("role = \"supervisor\"\ncalls = [\"control\"]", 8, "without the call info"),
        ("calls = [\"info\"]\nrole = \"supervisor\"", 9, "without the call control"),
        ("role = \"scheduler\"\ncallees = [\"b\"]", 9, "the scheduler would wait"),
        ("quota_bindings = 3", 8, "without callees"),
        ("callees = [\"b\"]\nquota_bindings = 0", 9, "callees grant nothing"),
        ("callees = [\"b\", \"c\"]\nquota_bindings = 1", 9, "it has 2 callees"),
    ];
    for (more, line, text) in cases {
        let set = [object("a", more), object("b", ""), object("c", "")];
        one_problem(&set, &format!("services/a/Cargo.toml:{line}:"), text);
    }
    let program_cases = [
        ("quota_children = 3", "without spawns"),
        ("spawns = [\"p\"]\nquota_children = 0", "spawns grant nothing"),
        ("quota_bindings = 3", "without callees"),
    ];
    for (more, text) in program_cases {
        one_problem(&[program("p", more)], "services/p/Cargo.toml:", text);
    }
    assert_eq!(problems(&[program("p", "calls = [\"pause\"]")]), Vec::<String>::new());
    for key in ["role = \"scheduler\"", "allow_reentry = true", "mmio = [{ address = 0x0a00_0000, length = 0x1000 }]"] {
        let table = format!("kind = \"program\"\nstack = \"8K\"\n{key}");
        assert_eq!(manifest("p", &table).expect_err(key).line, 7, "{key}");
    }
}

#[test]
fn policies_make_sense() {
    one_problem(&[with_policy("a", "backoff = 90\nbackoff_cap = 80")], "services/a/Cargo.toml:9:", "longer");
    one_problem(&[with_policy("a", "backoff = 2000")], "services/a/Cargo.toml:9:", "backoff_cap, 1000");
    one_problem(&[with_policy("a", "heartbeat = 9\nmisses = 0")], "services/a/Cargo.toml:10:", "in time");
    one_problem(&[with_policy("a", "dependants = [\"b\"]")], "services/a/Cargo.toml:9:", "no service");
    one_problem(&[with_policy("a", "dependants = [\"a\"]")], "services/a/Cargo.toml:9:", "a -> a");
    for keys in ["give_up = \"pray\"", "retries = 4", "backoff = -1"] {
        let table =
            format!("kind = \"object\"\nstack = \"8K\"\nmax_bindings = 1\n[package.metadata.service.policy]\n{keys}");
        assert_eq!(manifest("x", &table).expect_err(keys).line, 9, "{keys}");
    }
    let table = "kind = \"program\"\nstack = \"8K\"\n\n[package.metadata.service.policy]\nbackoff = 1";
    let problem = manifest("x", table).expect_err("programs have none").to_string();
    assert!(problem.starts_with("services/x/Cargo.toml:8:") && problem.contains("policy"), "{problem}");
}
