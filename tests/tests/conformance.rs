//! Every case of `cases/` passes, or differs by a rule that `docs/deviations.md` explains.

use std::collections::BTreeSet;
use std::path::Path;

use certwright_tests::conformance::{Summary, read};

#[test]
fn every_case_passes_or_is_a_listed_deviation() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cases = Vec::new();
    for file in ["cert-manager.json", "spiffe.json", "traefik.json"] {
        let text = std::fs::read_to_string(root.join("cases").join(file)).unwrap();
        cases.extend(read(&text).unwrap());
    }
    let summary = Summary::of(&cases);
    assert!(
        summary.failures.is_empty(),
        "{}",
        summary.failures.join("\n")
    );
    assert_eq!(summary.unsupported, 0, "of {:?}", summary.kinds);

    let listed = std::fs::read_to_string(root.join("../docs/deviations.md")).unwrap();
    let rules: BTreeSet<_> = summary
        .deviations
        .iter()
        .filter_map(|d| d.rsplit_once(": "))
        .map(|(_, rule)| rule)
        .collect();
    for rule in rules {
        assert!(
            listed.contains(&format!("`{rule}`")),
            "docs/deviations.md does not explain {rule}"
        );
    }
}
