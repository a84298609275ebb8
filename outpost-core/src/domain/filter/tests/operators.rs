use super::{DestinationFilter, FilterInput, Sample, check, filter, fits};
use crate::domain::tenant::StringMap;
use crate::values::time::Timestamp;

/// Stands for a key that is not there.
const MISSING: &str = "";

#[test]
fn an_empty_filter_fits_everything() {
    let empty = filter(" { } ");
    assert!(empty.is_empty() && !filter(r#"{"data":{}}"#).is_empty());
    assert!(empty.matches(&Sample::of("{}").input()));
    assert!(fits(r#"{"data":{}}"#, "{}"), "an empty object asks only that there is a value");
}

#[test]
fn bare_primitives_equal_the_same_type_only_and_list_elements() {
    check("5", &["5", "5.0", "50e-1", "[1,5]"], &["\"5\"", "6", "null", "[[5]]", "{\"v\":5}", "[]", MISSING]);
    check("\"a\"", &["\"a\"", r#""\u0061""#, "[1,\"a\"]"], &["\"A\"", "\"ab\"", "1", "[\"ab\"]", MISSING]);
    check("true", &["true", "[true]"], &["false", "1", "\"true\"", MISSING]);
    check("null", &["null", "[null]"], &["0", "\"\"", "false", "{}", "[]", MISSING]);
    check("0", &["0", "-0.0", "0e5"], &["false", "null"]);
}

#[test]
fn bare_lists_ask_for_every_value() {
    check("[1,\"a\"]", &["[\"a\",2,1]", "[1,1,\"a\"]"], &["[1]", "[\"a\"]", "1", "{}", "\"1a\"", MISSING]);
    check("[1,1]", &["[1]"], &["[2]"]);
    check("[]", &["[]", "[1]"], &["1", "{}", MISSING]);
    check(
        "[[1,2],{\"a\":1,\"b\":2}]",
        &["[{\"b\":2,\"a\":1},0,[1,2]]"],
        &["[[2,1],{\"a\":1,\"b\":2}]", "[1,2]", "[[1,2]]"],
    );
}

#[test]
fn equality_is_deep_and_blind_to_the_order_of_keys() {
    check("{\"$eq\":1}", &["1", "1.0"], &["2", "\"1\"", "[1]", MISSING]);
    check(
        "{\"$eq\":[1,{\"a\":null}]}",
        &["[1,{\"a\":null}]"],
        &["[{\"a\":null},1]", "[1]", "[1,{\"a\":null},2]", "[1,{}]"],
    );
    check(
        "{\"$eq\":{\"a\":1,\"b\":[\"x\"]}}",
        &["{\"b\":[\"x\"],\"a\":1}", "{\"a\":2,\"b\":[\"x\"],\"a\":1}"],
        &["{\"a\":1}", "{\"a\":1,\"b\":[\"x\"],\"c\":0}", "{\"a\":1,\"b\":\"x\"}", "[]", MISSING],
    );
    check("{\"$eq\":{}}", &["{}"], &["{\"a\":1}", "[]", "null", MISSING]);
    check("{\"$eq\":[]}", &["[]"], &["[1]", "{}"]);
    check("{\"$eq\":{\"$gt\":1}}", &["{\"$gt\":1}"], &["2"]);
    check("{\"$neq\":1}", &["2", "\"1\"", "[1]", "{}", "null"], &["1", "1.0", MISSING]);
    check("{\"$neq\":{\"a\":1}}", &["{\"a\":2}", "{}"], &["{\"a\":1.0}", MISSING]);
}

#[test]
fn order_compares_numbers_with_numbers_and_texts_with_texts() {
    check(
        "{\"$gt\":10}",
        &["10.5", "1e400", "9007199254740993"],
        &["10", "9", "-1e400", "\"11\"", "[11]", "null", MISSING],
    );
    check("{\"$gte\":10}", &["10", "10.0", "11"], &["9.99", "true", "{}", MISSING]);
    check("{\"$lt\":10}", &["9", "-1.7976931348623157e+308"], &["10", "\"1\"", MISSING]);
    check("{\"$lte\":10}", &["10", "-0"], &["10.0001", "null", MISSING]);
    check("{\"$gt\":\"b\"}", &["\"ba\"", "\"c\"", "\"é\"", r#""\u00e9""#], &["\"b\"", "\"B\"", "\"\"", "5", MISSING]);
    check("{\"$gte\":\"b\"}", &["\"b\"", "\"c\""], &["\"a\""]);
    check("{\"$lt\":\"b\"}", &["\"a\"", "\"\""], &["\"b\"", "\"c\"", "1"]);
    check("{\"$lte\":\"b\"}", &["\"b\"", "\"B\""], &["\"ba\"", "[\"a\"]"]);
    check("{\"$gt\":1,\"$lt\":5}", &["2"], &["1", "5", "6"]);
}

#[test]
fn membership_knows_lists_parts_of_texts_and_elements() {
    check(
        "{\"$in\":[\"a\",1,null]}",
        &["\"a\"", "1.0", "null", "[0,1]"],
        &["\"b\"", "\"1\"", "{\"a\":1}", "[]", "[[1]]", MISSING],
    );
    check(
        "{\"$nin\":[\"a\",1]}",
        &["\"b\"", "2", "null", "true", "[2]", "[]"],
        &["\"a\"", "1", "[0,1]", "{}", MISSING],
    );
    check(
        "{\"$in\":\"bc\"}",
        &["\"abcd\"", "\"bc\"", r#""\u0061b\u0063""#, "[\"a\",\"bc\"]"],
        &["\"b\"", "[\"abcd\"]", "5", "{}", "null", MISSING],
    );
    check("{\"$nin\":\"bc\"}", &["\"b\"", "[\"abcd\"]", "[]"], &["\"abcd\"", "[\"bc\"]", "5", "{}", "null", MISSING]);
    check("{\"$in\":5}", &["[1,5.0]"], &["5", "\"5\"", "[1]", "[\"5\"]", MISSING]);
    check("{\"$nin\":5}", &["[1]"], &["[5]", "5", "6", MISSING]);
    check("{\"$in\":null}", &["[null]"], &["null", "[]"]);
    check("{\"$in\":\"\"}", &["\"\"", "\"x\"", "[\"\"]"], &["[]", "0"]);
}

#[test]
fn starts_and_ends_take_one_text_or_several() {
    check(
        "{\"$startsWith\":\"or\"}",
        &["\"order\"", "\"or\"", r#""\u006frder""#],
        &["\"xor\"", "\"Or\"", "[\"order\"]", "5", "null", MISSING],
    );
    check("{\"$startsWith\":[\"a\",\"or\"]}", &["\"abc\"", "\"order\""], &["\"xa\"", "1", MISSING]);
    check("{\"$endsWith\":\"er\"}", &["\"order\"", r#""ord\u0065r""#], &["\"err\"", "{}", "[\"er\"]", MISSING]);
    check("{\"$endsWith\":[\"a\",\"er\"]}", &["\"a\"", "\"order\""], &["\"ab\"", MISSING]);
}

#[test]
fn existence_is_about_the_key() {
    check("{\"$exist\":true}", &["null", "0", "[]", "{}"], &[MISSING]);
    check("{\"$exist\":false}", &[MISSING], &["null", "0", "[]", "{}"]);
    check("{}", &["null", "0", "[]", "{}"], &[MISSING]);
}

#[test]
fn a_missing_value_fits_nothing_but_not_existing() {
    for schema in [
        "1",
        "[]",
        "{\"$neq\":1}",
        "{\"$nin\":[1]}",
        "{\"$not\":{\"$eq\":1}}",
        "{\"$not\":{\"$not\":{\"$eq\":1}}}",
        "{\"$not\":{\"a\":1}}",
        "{\"$not\":[1]}",
        "{\"a\":{\"$exist\":false}}",
        "{\"$not\":{\"$exist\":false}}",
        "{\"$exist\":false,\"$neq\":1}",
        "{\"$and\":[{\"$exist\":false},{\"$neq\":1}]}",
    ] {
        check(schema, &[], &[MISSING]);
    }
    for schema in [
        "{\"$not\":{\"$exist\":true}}",
        "{\"$or\":[{\"$eq\":1},{\"$exist\":false}]}",
        "{\"$not\":{\"$and\":[{\"$exist\":true},{\"$eq\":1}]}}",
        "{\"$and\":[{\"$exist\":false}]}",
    ] {
        check(schema, &[MISSING], &[]);
    }
    assert!(fits(r#"{"$not":{"data":{"v":1}}}"#, "{}"), "around the field, the field's no is turned");
    assert!(fits(r#"{"data":{"$not":{"v":1}}}"#, "{}"));
}

#[test]
fn the_documented_example_of_not_works_on_a_text() {
    let json = r#"{"data":{"status":{"$not":{"$in":["a","b"]}}}}"#;
    assert!(fits(json, r#"{"status":"c"}"#));
    assert!(!fits(json, r#"{"status":"a"}"#) && !fits(json, r#"{"status":"b"}"#));
    assert!(!fits(json, "{}"), "without a status there is nothing to tell");
}

#[test]
fn branches_work_on_whatever_the_value_is() {
    check("{\"$not\":5}", &["6", "\"5\"", "[6]", "{}"], &["5", "[5]"]);
    check("{\"$not\":[1]}", &["[2]", "1"], &["[1,2]"]);
    check("{\"$and\":[{\"$gt\":1},{\"$lt\":5}]}", &["2"], &["1", "5", "\"2\""]);
    check("{\"$or\":[1,\"a\",{\"$gt\":10},[7]]}", &["1", "\"a\"", "11", "[7]", "[1]"], &["2", "\"b\"", "[2]"]);
    check(
        "{\"$and\":[{\"$in\":\"x\"},{\"$not\":{\"$in\":\"y\"}}]}",
        &["[\"x\"]", "\"x\""],
        &["[\"x\",\"y\"]", "\"xy\"", "[]"],
    );
    check("{\"$not\":{\"$nin\":[1]}}", &["1", "{}"], &["2"]);
    assert!(fits(r#"{"$or":[{"topic":"x"},{"data":{"a":1}}]}"#, r#"{"a":1}"#));
    assert!(!fits(r#"{"$or":[{"topic":"x"},{"data":{"a":2}}]}"#, r#"{"a":1}"#));
    assert!(fits(r#"{"data":{"a":1,"$not":{"b":2}}}"#, r#"{"a":1,"b":3}"#));
    assert!(!fits(r#"{"data":{"a":1,"$not":{"b":2}}}"#, r#"{"a":1,"b":2}"#));
}

#[test]
fn everything_beside_an_operator_counts() {
    check("{\"$or\":[1,2],\"$gt\":1}", &["2"], &["1", "3"]);
    check("{\"$exist\":true,\"a\":1}", &["{\"a\":1}"], &["{\"a\":2}", "5"]);
    check("{\"a\":1,\"$neq\":{\"a\":1}}", &["{\"a\":1,\"b\":2}"], &["{\"a\":1}"]);
    check("{\"$or\":[{\"a\":1},{\"a\":2}],\"b\":3}", &["{\"a\":2,\"b\":3}"], &["{\"a\":2}", "{\"b\":3}"]);
}

#[test]
fn fields_asked_of_a_list_want_one_element_that_fits_them_all() {
    check(
        "{\"a\":1,\"b\":2}",
        &["[{\"a\":1,\"b\":2}]", "[0,{\"a\":1,\"b\":2}]"],
        &["[{\"a\":1},{\"b\":2}]", "[]", "[1]", "[[{\"a\":1,\"b\":2}]]"],
    );
    check("{\"a\":{\"b\":1}}", &["[{\"a\":[{\"b\":1}]}]"], &["[{\"a\":[{\"b\":2}]}]"]);
    check("{\"$and\":[{\"a\":1},{\"b\":2}]}", &["[{\"a\":1,\"b\":2}]"], &["[{\"a\":1},{\"b\":2}]"]);
    check("{\"$or\":[{\"a\":1},{\"b\":2}]}", &["[{\"b\":2}]"], &["[{\"b\":1}]"]);
    check("{\"$not\":{\"a\":1}}", &["[{\"a\":1},{\"a\":2}]"], &["[{\"a\":1}]", "[]"]);
    check("{\"a\":1,\"$not\":{\"b\":2}}", &["[{\"a\":1,\"b\":2},{\"a\":1}]"], &["[{\"a\":1,\"b\":2},{\"b\":1}]"]);
    check("{\"a\":1,\"$neq\":[{\"a\":1}]}", &["[{\"a\":1},0]"], &["[{\"a\":1}]"]);
    assert!(!fits(r#"{"$not":{"data":{"v":{"a":1}}}}"#, r#"{"v":[{"a":1},{"a":2}]}"#), "none of them");
}

#[test]
fn every_part_of_the_event_can_be_asked_and_nothing_else_is_there() {
    for yes in [
        r#"{"id":"evt_1","topic":{"$startsWith":"order."},"metadata":{"region":"eu"}}"#,
        r#"{"metadata":{"$eq":{"region":"eu"}}}"#,
        r#"{"data":{"$exist":true},"body":{"$exist":false}}"#,
        r#"{"$not":{"body":{"a":1}}}"#,
    ] {
        assert!(fits(yes, "{}"), "{yes}");
    }
    for no in [r#"{"id":"evt_2"}"#, r#"{"metadata":{"x":"eu"}}"#, r#"{"body":{"a":1}}"#, r#"{"topic":{"a":1}}"#] {
        assert!(!fits(no, r#"{"a":1}"#), "{no}");
    }
    let odd = StringMap::from([("a\"b".to_owned(), "\u{1f469}\n".to_owned())]);
    let input = FilterInput { id: "i", topic: "a\"b\\c", time: Timestamp::MIN, metadata: &odd, data: b"{}" };
    assert!(filter(r#"{"topic":"a\"b\\c","metadata":{"a\"b":"👩\n"}}"#).matches(&input));
}

#[test]
fn time_is_compared_as_an_instant() {
    // The event is of 2026-01-31T08:00:00.250Z.
    for yes in [
        r#"{"$gt":"2026-01-31T09:00:00+02:00"}"#,
        r#"{"$lt":"2026-01-31T07:30:00-01:00"}"#,
        r#"{"$gte":"2026-01-31"}"#,
        r#"{"$lte":"2026-01-31T08:00:00.250Z"}"#,
        r#"{"$eq":"2026-01-31T10:00:00.250+02:00"}"#,
        r#""2026-01-31T09:00:00.25+01:00""#,
        r#"{"$neq":"2026-01-31T08:00:00Z"}"#,
        r#"{"$in":["2020-01-01","2026-01-31T08:00:00.2509Z"]}"#,
        r#"{"$nin":["2020-01-01","2026-01-31T08:00:00Z"]}"#,
        r#"{"$not":{"$lt":"2026-01-31T07:59:59Z"}}"#,
        r#"{"$startsWith":"2026-01-31T08:00","$endsWith":"00Z","$in":"T08:"}"#,
        r#"{"$exist":true}"#,
    ] {
        assert!(fits(&format!("{{\"time\":{yes}}}"), "{}"), "{yes}");
    }
    for no in [
        r#"{"$gt":"2026-01-31T08:00:00.250Z"}"#,
        r#"{"$lt":"2026-01-31T09:00:00+02:00"}"#,
        r#""2026-01-31T08:00:00Z""#,
        r#"{"$nin":["2026-01-31T10:00:00.250+02:00"]}"#,
        r#"{"$or":[{"$gt":"2027-01-01"},{"$lt":"2026-01-01"}]}"#,
        r#"{"$exist":false}"#,
        r#"{"a":1}"#,
    ] {
        assert!(!fits(&format!("{{\"time\":{no}}}"), "{}"), "{no}");
    }
    assert!(fits(r#"{"data":{"time":{"$gt":"a"}}}"#, r#"{"time":"b"}"#), "only the event's own time is an instant");
}

#[test]
fn a_filter_is_its_text() {
    let text = " {\"data\" : {\"a\":1.0}}\n";
    let one = filter(text);
    assert_eq!((one.as_json(), format!("{one:?}").as_str()), (text, text));
    assert_eq!(one, one.clone());
    assert_eq!(one, filter(text));
    assert_ne!(one, filter("{\"data\":{\"a\":1.0}}"));
    let stored = serde_json::to_string(&one).unwrap();
    assert_eq!(stored, serde_json::to_string(text).unwrap());
    assert_eq!(serde_json::from_str::<DestinationFilter>(&stored).unwrap().as_json(), text);
    let error = serde_json::from_str::<DestinationFilter>(r#""{\"data\":{\"$x\":1}}""#).unwrap_err();
    assert!(error.to_string().contains("filter.data.$x"), "{error}");
}
