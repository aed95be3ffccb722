//! `status --json`: one object, for programs.

use serde_json::{Value, json};

use super::daemon::{Report, Told};

/// The whole report; a worker's `lines` are its lines, `lines_served` their number.
pub fn report(report: &Report) -> String {
    let workers: Vec<Value> = report.workers.iter().map(worker).collect();
    let object = json!({ "version": report.version, "workers": workers });
    format!("{object}\n")
}

fn worker(told: &Told) -> Value {
    let mut value = told.raw.clone();
    if let Some(object) = value.as_object_mut() {
        let served = object.remove("lines").unwrap_or(Value::Null);
        object.insert("lines_served".into(), served);
        object.insert("lines".into(), json!(told.lines));
        if let Some(why) = &told.incomplete {
            object.insert("incomplete".into(), json!(why));
        }
    }
    value
}
