//! Modules as `rctl check` and the engine look at them before anything of them is compiled.

use refrain_inspect::asyncify::{checkpointable, layout};
use refrain_inspect::{export_state, inspect, link_names};

/// A module, or what somebody says is one: what is made of a good module is a good module.
pub fn module(data: &[u8]) {
    let report = inspect(data);
    let savable = checkpointable(data);
    assert_eq!(savable.is_ok(), savable.is_ok() && layout(data).is_some());
    let Ok(report) = report else {
        assert!(link_names(data).is_err() && export_state(data).is_err());
        return;
    };
    let told: Vec<String> = report.problems().iter().map(ToString::to_string).collect();
    let _ = (report.missing(), report.families(), report.initial_memory_bytes(), report.initial_table_elements(), told);
    serde_json::to_string(&report).expect("a report is plain data");
    let linked = link_names(data).expect("a good module");
    inspect(&linked).expect("names alone have changed");
    if let Ok(exporting) = export_state(data) {
        inspect(&exporting).expect("exports alone were added");
    }
}
