//! The kinds of the Prometheus operator, as strict as Kubernetes' own: what these schemas do not name is an error.

use serde_json::{Value, json};

fn map(properties: &Value) -> Value {
    json!({"type": "object", "properties": properties})
}

fn list(of: &Value) -> Value {
    json!({"type": "array", "items": of})
}

fn definition(kind: &str, plural: &str, required: &str, properties: &Value) -> Value {
    let mut spec = map(properties);
    spec["required"] = json!([required]);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
        "spec": {
            "group": "monitoring.coreos.com",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
            "scope": "Namespaced",
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": spec}, "required": ["spec"],
                }},
            }],
        },
    })
}

/// Both, by the operator's reference of its API.
pub(super) fn definitions() -> String {
    let text = json!({"type": "string"});
    let texts = json!({"type": "object", "additionalProperties": text});
    let duration = json!({"type": "string", "pattern": "^([0-9]+(ms|[smhdwy]))+$"});
    let relabeling = list(&map(&json!({
        "sourceLabels": list(&text), "targetLabel": text, "replacement": text, "regex": text, "separator": text,
        "action": {"type": "string", "enum": ["replace", "keep", "drop", "labeldrop", "labelkeep", "labelmap"]},
    })));
    let endpoint = map(&json!({
        "port": text, "path": text, "honorLabels": {"type": "boolean"}, "interval": duration,
        "scrapeTimeout": duration, "relabelings": relabeling, "metricRelabelings": relabeling,
    }));
    let monitor = json!({
        "jobLabel": text,
        "selector": map(&json!({"matchLabels": texts})),
        "namespaceSelector": map(&json!({"matchNames": list(&text)})),
        "endpoints": list(&endpoint),
    });
    let mut rule = map(&json!({
        "alert": text, "record": text, "expr": {"x-kubernetes-int-or-string": true}, "for": duration,
        "keep_firing_for": duration, "labels": texts, "annotations": texts,
    }));
    rule["required"] = json!(["expr"]);
    let group = map(&json!({"name": text, "interval": duration, "rules": list(&rule)}));
    let both = [
        definition("ServiceMonitor", "servicemonitors", "endpoints", &monitor),
        definition(
            "PrometheusRule",
            "prometheusrules",
            "groups",
            &json!({"groups": list(&group)}),
        ),
    ];
    both.map(|it| it.to_string()).join("\n---\n")
}
