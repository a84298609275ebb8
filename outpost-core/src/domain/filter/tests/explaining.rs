use super::super::MAX_EXPLAINED_VALUE;
use super::{Sample, filter};

fn explain(json: &str, data: &str) -> super::super::Explanation {
    let sample = Sample::of(data);
    let explanation = filter(json).explain(&sample.input());
    assert_eq!(explanation.matches, filter(json).matches(&sample.input()));
    explanation
}

fn text(json: &str, data: &str) -> String {
    explain(json, data).to_string()
}

#[test]
fn a_condition_is_told_in_full() {
    let told = explain(r#"{"topic":"order.created","data":{"amount":{"$gt":1e1}}}"#, r#"{"amount": 5.0}"#);
    let json = serde_json::to_value(&told).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"matches": false, "conditions": [
            {"path": "topic", "operator": "equals", "expected": "\"order.created\"", "found": "\"order.created\"",
             "held": true, "decisive": false, "text": "topic is \"order.created\", which equals \"order.created\""},
            {"path": "data.amount", "operator": "$gt", "expected": "1e1", "found": "5.0",
             "held": false, "decisive": true, "text": "data.amount is 5.0, which is not greater than 1e1"},
        ]})
    );
    assert_eq!(told.to_string(), "does not match: data.amount is 5.0, which is not greater than 1e1");
    assert_eq!(told.conditions[1].to_string(), "data.amount is 5.0, which is not greater than 1e1");
}

#[test]
fn sentences_say_what_was_found() {
    for (schema, value, sentence) in [
        ("1", "2", "is 2, which does not equal 1"),
        ("1", "[2]", "is [2], which does not contain 1"),
        ("[1]", "[2]", "is [2], which does not contain all of [1]"),
        ("[1]", "1", "is 1, which cannot be compared with [1]"),
        (r#"{"$gt":10}"#, "\"x\"", "is \"x\", which cannot be compared with 10"),
        (r#"{"$gte":10}"#, "1", "is 1, which is not at least 10"),
        (r#"{"$lt":10}"#, "11", "is 11, which is not less than 10"),
        (r#"{"$lte":10}"#, "11", "is 11, which is not at most 10"),
        (r#"{"$neq":1}"#, "1", "is 1, which does not differ from 1"),
        (r#"{"$in":[1]}"#, "2", "is 2, which is not one of [1]"),
        (r#"{"$in":[1]}"#, "[2]", "is [2], which contains none of [1]"),
        (r#"{"$nin":[1]}"#, "1", "is 1, which is one of [1]"),
        (r#"{"$nin":[1]}"#, "[1]", "is [1], which contains one of [1]"),
        (r#"{"$nin":[1]}"#, "{}", "is {}, which cannot be compared with [1]"),
        (r#"{"$in":"x"}"#, "\"y\"", "is \"y\", which does not contain \"x\""),
        (r#"{"$nin":"x"}"#, "\"x\"", "is \"x\", which contains \"x\""),
        (r#"{"$startsWith":"x"}"#, "\"y\"", "is \"y\", which does not start with \"x\""),
        (r#"{"$endsWith":["x","z"]}"#, "\"y\"", "is \"y\", which ends with none of [\"x\",\"z\"]"),
        (r#"{"$exist":false}"#, "1", "is there"),
        (r#"{"$exist":true}"#, "", "is missing"),
        (r#"{"$neq":1}"#, "", "is missing"),
        (r#"{"a":1}"#, "", "is missing"),
        (r#"{"a":1}"#, "5", "is 5, which has no fields to fit {\"a\":1}"),
        (r#"{"a":1}"#, "[{}]", "is [{}], of which no element fits {\"a\":1}"),
    ] {
        let data = if value.is_empty() { "{}".to_owned() } else { format!("{{\"v\":{value}}}") };
        let told = text(&format!("{{\"data\":{{\"v\":{schema}}}}}"), &data);
        assert_eq!(told, format!("does not match: data.v {sentence}"), "{schema} {value}");
    }
    let late = text(r#"{"time":{"$lt":"2026-01-01"}}"#, "{}");
    assert_eq!(late, r#"does not match: time is "2026-01-31T08:00:00.250Z", which is not less than "2026-01-01""#);
}

#[test]
fn the_text_names_only_reasons() {
    let json = r#"{"$or":[{"data":{"a":1}},{"data":{"b":1}}],"$not":{"data":{"c":1}},"topic":{"$exist":true}}"#;
    assert_eq!(
        text(json, r#"{"a":2,"b":3}"#),
        "does not match: data.a is 2, which does not equal 1; data.b is 3, which does not equal 1"
    );
    assert_eq!(text(json, r#"{"a":1,"c":1}"#), "does not match: data.c is 1, which equals 1");
    assert_eq!(text(json, r#"{"b":1}"#), "matches: topic is there; data.b is 1, which equals 1; data.c is missing");
    assert_eq!(text("{}", "{}"), "matches");
    let not = r#"{"data":{"status":{"$not":{"$in":["a","b"]}}}}"#;
    assert_eq!(text(not, r#"{"status":"a"}"#), r#"does not match: data.status is "a", which is one of ["a","b"]"#);
    assert_eq!(text(not, "{}"), "does not match: data.status is missing");
    let many = format!("{{\"data\":{{{}}}}}", (0..9).map(|n| format!("\"k{n}\":1")).collect::<Vec<_>>().join(","));
    assert!(text(&many, "{}").ends_with("data.k4 is missing; and 4 more"));
}

#[test]
fn every_condition_is_told_also_when_the_first_decided() {
    let told = explain(r#"{"data":{"a":1,"b":2,"$or":[{"c":3},{"c":4}]}}"#, r#"{"a":0,"b":2,"c":3}"#);
    let held: Vec<(&str, bool, bool)> =
        told.conditions.iter().map(|one| (one.path.as_str(), one.held, one.decisive)).collect();
    assert_eq!(
        held,
        [("data.a", false, true), ("data.b", true, false), ("data.c", true, false), ("data.c", false, false)]
    );
}

#[test]
fn long_values_are_cut_between_characters() {
    for character in ["x", "é", "語", "👩"] {
        let long = character.repeat(5000);
        let told = explain(
            &format!("{{\"data\":{{\"v\":{{\"$in\":\"{}\"}}}}}}", character.repeat(1000)),
            &format!("{{\"v\":\"{long}\"}}"),
        );
        let one = &told.conditions[0];
        for shown in [one.found.as_deref().unwrap(), &one.expected] {
            assert!(shown.ends_with('…') && shown.len() <= MAX_EXPLAINED_VALUE + '…'.len_utf8(), "{shown}");
            assert!(shown.len() > MAX_EXPLAINED_VALUE - 4);
        }
        assert!(one.held);
    }
}
