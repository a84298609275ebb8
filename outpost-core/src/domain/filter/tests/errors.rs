use super::super::{MAX_FILTER_CONDITIONS, MAX_FILTER_DEPTH, MAX_FILTER_LEN, MAX_FILTER_VALUES};
use super::{DestinationFilter, fits};

/// The problems of a filter as sentences.
fn problems(json: &str) -> Vec<String> {
    DestinationFilter::parse(json).expect_err(json).iter().map(ToString::to_string).collect()
}

#[test]
fn every_mistake_is_named_with_its_path() {
    for (json, path, message) in [
        ("", "filter", "is not valid JSON at line 1 column 0"),
        ("{\"a\":\n1,}", "filter", "is not valid JSON at line 2 column 3"),
        ("[]", "filter", "must be a JSON object"),
        ("null", "filter", "must be a JSON object"),
        ("\"{}\"", "filter", "must be a JSON object"),
        ("{} {}", "filter", "is not valid JSON"),
        (r#"{"data":{"amount":{"$gt":true}}}"#, "filter.data.amount.$gt", "must be a number or a text"),
        (r#"{"data":{"amount":{"$lte":[1]}}}"#, "filter.data.amount.$lte", "must be a number or a text"),
        (r#"{"data":{"a":{"$gte":null}}}"#, "filter.data.a.$gte", "must be a number or a text"),
        (r#"{"data":{"a":{"$lt":{}}}}"#, "filter.data.a.$lt", "must be a number or a text"),
        (r#"{"data":{"a":{"$regex":"x"}}}"#, "filter.data.a.$regex", "is not an operator; there are $eq,"),
        (r#"{"data":{"a":{"$ref":"b"}}}"#, "filter.data.a.$ref", "is not an operator"),
        (r#"{"data":{"a":{"$":1}}}"#, "filter.data.a.$", "is not an operator"),
        (r#"{"$eq":1}"#, "filter.$eq", "must stand inside a field"),
        (r#"{"$or":[{"$exist":true}]}"#, "filter.$or[0].$exist", "must stand inside a field"),
        (r#"{"data":{"a":{"$in":[1,[2]]}}}"#, "filter.data.a.$in[1]", "must be a text, a number,"),
        (r#"{"data":{"a":{"$nin":[{}]}}}"#, "filter.data.a.$nin[0]", "must be a text, a number,"),
        (r#"{"data":{"a":{"$in":{}}}}"#, "filter.data.a.$in", "must be a list of values"),
        (r#"{"data":{"a":{"$in":[]}}}"#, "filter.data.a.$in", "must not be an empty list"),
        (r#"{"data":{"a":{"$startsWith":5}}}"#, "filter.data.a.$startsWith", "must be a text or a list of texts"),
        (r#"{"data":{"a":{"$endsWith":["x",5]}}}"#, "filter.data.a.$endsWith[1]", "must be a text"),
        (r#"{"data":{"a":{"$endsWith":[]}}}"#, "filter.data.a.$endsWith", "must not be an empty list"),
        (r#"{"data":{"a":{"$exist":"yes"}}}"#, "filter.data.a.$exist", "must be true or false"),
        (r#"{"data":{"a":{"$exist":null}}}"#, "filter.data.a.$exist", "must be true or false"),
        (r#"{"$or":{}}"#, "filter.$or", "must be a list of filters"),
        (r#"{"$and":[]}"#, "filter.$and", "must not be an empty list"),
        (r#"{"$or":[{},5]}"#, "filter.$or[1]", "must be an object with fields such as data"),
        (r#"{"$not":[{}]}"#, "filter.$not", "must be an object with fields such as data"),
        (r#"{"data":{"$and":5}}"#, "filter.data.$and", "must be a list of filters"),
        (r#"{"data":{"$not":{"b":{"$gt":[]}}}}"#, "filter.data.$not.b.$gt", "must be a number or a text"),
        (r#"{"data":{"a":[{"b":1},{"$gt":1}]}}"#, "filter.data.a[1].$gt", "cannot stand in a list of values"),
        (r#"{"data":{"a":1,"a":2}}"#, "filter.data.a", "is given more than once"),
        (r#"{"data":{"a":{"$gt":1,"\u0024gt":2}}}"#, "filter.data.a.$gt", "is given more than once"),
        (r#"{"data":{"a":{"$eq":{"b":1,"b":1}}}}"#, "filter.data.a.$eq.b", "is given more than once"),
        (r#"{"data":{"a":1e400}}"#, "filter.data.a", "is too large a number"),
        (r#"{"data":{"a":{"$in":[1,-1e999]}}}"#, "filter.data.a.$in[1]", "is too large a number"),
        (r#"{"data":{"a.b":{"c d":{"$x":1}}}}"#, r#"filter.data["a.b"]["c d"].$x"#, "is not an operator"),
        (r#"{"time":{"$gt":"yesterday"}}"#, "filter.time.$gt", "must be an RFC 3339 time"),
        (r#"{"time":{"$gt":5}}"#, "filter.time.$gt", "must be an RFC 3339 time"),
        (r#"{"time":{"$lt":"2026-01-01T00:00:00"}}"#, "filter.time.$lt", "must be an RFC 3339 time"),
        (r#"{"time":{"$in":["2026-01-01",null]}}"#, "filter.time.$in[1]", "must be an RFC 3339 time"),
        (r#"{"time":["2026-01-01"]}"#, "filter.time", "must be an RFC 3339 time"),
        (r#"{"time":{"$not":{"$eq":"x"}}}"#, "filter.time.$not.$eq", "must be an RFC 3339 time"),
        (r#"{"$or":[{"time":"soon"}]}"#, "filter.$or[0].time", "must be an RFC 3339 time"),
        (r#"{"time":{"$startsWith":5}}"#, "filter.time.$startsWith", "must be a text"),
    ] {
        let found = DestinationFilter::parse(json).expect_err(json);
        assert_eq!(found.len(), 1, "{json}: {found:?}");
        assert_eq!(found[0].field, path, "{json}");
        assert!(found[0].message.starts_with(message) || found[0].message.contains(message), "{json}: {}", found[0]);
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let found = problems(r#"{"data":{"a":{"$gt":true,"$x":1},"b":{"$in":[[],{}]}},"$or":5,"time":1}"#);
    let paths: Vec<&str> = found.iter().filter_map(|problem| problem.split(' ').next()).collect();
    assert_eq!(
        paths,
        [
            "filter.data.a.$gt",
            "filter.data.a.$x",
            "filter.data.b.$in[0]",
            "filter.data.b.$in[1]",
            "filter.$or",
            "filter.time"
        ]
    );
    let many = format!("{{\"data\":{{{}}}}}", (0..1000).map(|n| format!("\"$x{n}\":1")).collect::<Vec<_>>().join(","));
    assert_eq!(problems(&many).len(), 100);
}

#[test]
fn the_length_is_bounded() {
    let long = |len: usize| format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(len - 17));
    let allowed = long(MAX_FILTER_LEN);
    assert_eq!(allowed.len(), MAX_FILTER_LEN);
    assert!(DestinationFilter::parse(&allowed).is_ok());
    assert_eq!(problems(&long(MAX_FILTER_LEN + 1)), ["filter must be at most 16384 bytes, but has 16385"]);
}

#[test]
fn the_depth_is_bounded_in_fields_branches_and_values() {
    let nested = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    for (prefix, open, close, suffix, levels, tail) in [
        ("{\"data\":", "{\"a\":", "}", "}", 1, ".a"),
        ("{\"data\":{\"$eq\":", "[", "]", "}}", 1, "[0]"),
        ("{\"data\":{\"$eq\":", "{\"a\":", "}", "}}", 1, ".a"),
        ("{\"data\":", "{\"$not\":", "}", "}", 1, ".$not"),
        ("{\"data\":", "{\"$or\":[", "]}", "}", 2, "[0]"),
    ] {
        let outer = prefix.matches('{').count() - 1;
        let allowed = (MAX_FILTER_DEPTH - outer) / levels;
        let text = |times: usize| format!("{prefix}{}{suffix}", nested(open, close, times));
        assert!(DestinationFilter::parse(&text(allowed)).is_ok(), "{}", text(allowed));
        let found = problems(&text(allowed + 1));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].ends_with("is nested more than 16 levels deep") && found[0].contains(tail), "{found:?}");
    }
    // Deep enough to end a thread that would recurse along.
    assert_eq!(problems(&nested("{\"a\":", "}", 2500)).len(), 1);
    assert_eq!(problems(&format!("{{\"data\":{}}}", nested("[", "]", 8000))).len(), 1);
}

#[test]
fn the_number_of_conditions_is_bounded() {
    let fields = |count: usize| {
        format!("{{\"data\":{{{}}}}}", (0..count).map(|n| format!("\"k{n}\":{n}")).collect::<Vec<_>>().join(","))
    };
    assert!(DestinationFilter::parse(&fields(MAX_FILTER_CONDITIONS)).is_ok());
    assert_eq!(problems(&fields(MAX_FILTER_CONDITIONS + 1)), ["filter must have at most 256 conditions, but has 257"]);
    let operators = |count: usize| {
        let pair = |n: usize| format!("{{\"data\":{{\"a\":{{\"$gt\":{n},\"$lt\":{n}}}}}}}");
        format!("{{\"$or\":[{}]}}", (0..count).map(pair).collect::<Vec<_>>().join(","))
    };
    assert!(DestinationFilter::parse(&operators(128)).is_ok());
    assert_eq!(problems(&operators(129)), ["filter must have at most 256 conditions, but has 258"]);
}

#[test]
fn the_length_of_lists_is_bounded() {
    let list = |count: usize| vec!["1"; count].join(",");
    let texts = |count: usize| vec!["\"x\""; count].join(",");
    let branches = |count: usize| vec!["{}"; count].join(",");
    for (before, values, after, path) in [
        ("{\"data\":{\"a\":[", &list as &dyn Fn(usize) -> String, "]}}", "filter.data.a"),
        ("{\"data\":{\"a\":{\"$in\":[", &list, "]}}}", "filter.data.a.$in"),
        ("{\"data\":{\"a\":{\"$eq\":[", &list, "]}}}", "filter.data.a.$eq"),
        ("{\"data\":{\"a\":{\"$startsWith\":[", &texts, "]}}}", "filter.data.a.$startsWith"),
        ("{\"$or\":[", &branches, "]}", "filter.$or"),
    ] {
        assert!(DestinationFilter::parse(&format!("{before}{}{after}", values(MAX_FILTER_VALUES))).is_ok());
        let found = problems(&format!("{before}{}{after}", values(MAX_FILTER_VALUES + 1)));
        assert_eq!(found, [format!("{path} must have at most 256 values, but has 257")]);
    }
}

#[test]
fn unknown_keys_at_the_top_are_allowed_and_long_ones_are_cut_in_paths() {
    assert!(!fits(r#"{"body":{"a":1},"headers":{"x":{"$startsWith":"y"}}}"#, "{}"));
    let found = problems(&format!("{{\"data\":{{\"{}\":{{\"$x\":1}}}}}}", "é".repeat(100)));
    assert!(found[0].starts_with(&format!("filter.data.{}….$x ", "é".repeat(32))), "{found:?}");
}
