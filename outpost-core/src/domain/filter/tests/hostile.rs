use super::super::json::READ;
use super::{Sample, check, filter, fits};
use crate::domain::event::check_data;

#[test]
fn numbers_of_every_size_are_compared_as_f64() {
    let data = r#"{"n":-1.7976931348623157e+308,"m":0.0,"k":9007199254740993,"d":0.1000000000000000055511151231257827,"i":1e400,"j":-1E+999999999999999999999,"t":1e-400}"#;
    assert_eq!(check_data(data.as_bytes(), 1000), Ok(()));
    for yes in [
        r#"{"n":-1.7976931348623157e+308,"m":0,"k":9007199254740992,"d":0.1,"t":0}"#,
        r#"{"i":{"$gt":1.7976931348623157e+308},"j":{"$lt":-1.7976931348623157e+308}}"#,
        r#"{"k":{"$eq":9007199254740993},"n":{"$lt":0}}"#,
        r#"{"i":{"$neq":1},"j":{"$nin":[1,2]}}"#,
    ] {
        assert!(fits(&format!("{{\"data\":{yes}}}"), data), "{yes}");
    }
    check("5", &["5.000000000000000000000000000001", "0.5e1", "500E-2", "[5e0]"], &["5.1", "1e400"]);
    let digits = "9".repeat(1_000_000);
    check("{\"$gt\":0}", &[&digits, &format!("0.{digits}")], &[&format!("-{digits}")]);
    let sample = Sample::of(data);
    let told = filter(r#"{"data":{"k":1,"i":{"$lt":5}}}"#).explain(&sample.input());
    assert_eq!(told.conditions[0].found.as_deref(), Some("9007199254740993"), "shown as published");
    assert_eq!(told.conditions[1].found.as_deref(), Some("1e400"));
}

#[test]
fn halves_of_surrogate_pairs_read_as_the_replacement_character() {
    check(
        "\"a\u{fffd}\"",
        &[r#""a\ud800""#, r#""a\udc00""#, r#""a\uDBFF""#, "\"a\u{fffd}\"", r#"["a\ud800"]"#],
        &[r#""a\ud800\udc00""#, r#""a""#, r#""a\ud800\ud800""#],
    );
    check(r#""\ud83d\ude00""#, &["\"😀\"", r#""\uD83D\uDE00""#], &[r#""\ud83d""#, r#""\ude00\ud83d""#]);
    check(r#""\ud800""#, &[r#""\ud800""#, r#""\udfff""#], &[r#""\ud800x""#]);
    check(r#"{"$startsWith":"\ud83d"}"#, &[r#""\ud83dx""#], &["\"😀\""]);
    check(r#"{"$in":"x"}"#, &[r#""\ud800\nx\udc00""#], &[r#""\ud800\n\udc00""#]);
    check(r#"{"$eq":{"\ud800":1}}"#, &[r#"{"\udbff":1}"#], &["{}"]);
    assert!(fits(r#"{"data":{"\ud800":1}}"#, r#"{"\ud800":1}"#));
    assert!(!fits(r#"{"data":{"a":1}}"#, r#"{"\ud800":1,"b\udc00\u0000":2}"#));
}

#[test]
fn zero_characters_escapes_and_repeated_keys_are_what_they_are() {
    check(r#""a\u0000b""#, &[r#""a\u0000b""#], &[r#""ab""#, r#""a""#]);
    check(r#"{"$in":"\u0000"}"#, &[r#""a\u0000b""#], &[r#""ab""#]);
    check(r#""\"\\\/\b\f\n\r\t""#, &[r#""\u0022\u005c/\u0008\u000c\u000a\u000d\u0009""#], &["\"\""]);
    assert!(fits(r#"{"data":{"a\u0000":1}}"#, r#"{"a\u0000":1}"#));
    assert!(fits(r#"{"data":{"":{"":1}}}"#, r#"{"":{"":1}}"#));
    assert!(fits(r#"{"data":{"a":2}}"#, r#"{"a":1,"\u0061":2}"#) && !fits(r#"{"data":{"a":1}}"#, r#"{"a":1,"a":2}"#));
    assert!(!fits(r#"{"data":{"a":{"b":1}}}"#, r#"{"a":{"b":1},"a":5}"#));
    assert!(fits(r#"{"data":{"a.b":1}}"#, r#"{"a.b":1}"#) && !fits(r#"{"data":{"a.b":1}}"#, r#"{"a":{"b":1}}"#));
}

#[test]
fn payloads_that_are_no_object_have_no_fields() {
    let filters =
        [r#"{"data":{"a":1}}"#, r#"{"data":{"a":{"$exist":false}}}"#, r#"{"data":[1]}"#, r#"{"data":{"a":{"b":[1]}}}"#]
            .map(filter);
    for data in [
        &b""[..],
        b" ",
        b"{",
        b"}",
        b"{\"a\":1",
        b"{\"a\"",
        b"{\"a\":{\"b\":[1",
        b"\xff",
        b"{\"a\":\xff}",
        b"\"",
        b"nul",
        b"[1",
        b"-",
        b"{\"a\":\"\\",
        b"\xef\xbb\xbf{}",
    ] {
        let sample = Sample::of(data);
        for filter in &filters {
            assert_eq!(filter.matches(&sample.input()), filter.explain(&sample.input()).matches);
        }
        assert!(!filters[0].matches(&sample.input()), "{data:?}");
    }
}

#[test]
fn large_payloads_of_every_shape_are_read() {
    const SIZE: usize = 1 << 20;
    let wide = format!("{{{}\"last\":1}}", (0..80_000).map(|n| format!("\"k{n}\":{n},")).collect::<String>());
    let list = format!("{{\"v\":[{}\"last\"]}}", "0,".repeat(SIZE / 2));
    let objects = format!("{{\"v\":[{}{{\"a\":2}}]}}", "{\"a\":1},".repeat(SIZE / 8));
    let deep = format!("{{\"x\":{}{},\"last\":1}}", "[".repeat(SIZE / 2), "]".repeat(SIZE / 2));
    let deep_objects = format!("{{\"v\":{}1{}}}", "{\"v\":".repeat(100), "}".repeat(100));
    let long = format!("{{\"v\":\"{}b\"}}", "a".repeat(SIZE));
    let escaped = format!("{{\"v\":\"{}b\"}}", "\\u0061".repeat(SIZE / 6));
    // Almost fits everywhere.
    let part = format!("{}b{}", "a".repeat(6_000), "a".repeat(2_000));
    let eight = format!("{}1{}", "{\"v\":".repeat(8), "}".repeat(8));
    for (json, data, expected) in [
        (r#"{"data":{"last":1,"k79999":79999}}"#, &wide, true),
        (r#"{"data":{"k79999":{"$gt":79999}}}"#, &wide, false),
        (r#"{"data":{"$eq":{"last":1}}}"#, &wide, false),
        (r#"{"data":{"v":"last"}}"#, &list, true),
        (r#"{"data":{"v":["last",0]}}"#, &list, true),
        (r#"{"data":{"v":{"$nin":[1,2,"first"]}}}"#, &list, true),
        (r#"{"data":{"v":{"a":2}}}"#, &objects, true),
        (r#"{"data":{"v":{"a":3}}}"#, &objects, false),
        (r#"{"data":{"last":1}}"#, &deep, true),
        (r#"{"data":{"x":{"a":1}}}"#, &deep, false),
        (r#"{"data":{"x":{"$or":[{"a":1},5,{"$in":[6]},{"$not":{"b":[1]}}]}}}"#, &deep, true),
        (r#"{"data":{"x":{"$or":[{"a":1},5,[[7]]]}}}"#, &deep, false),
        (r#"{"data":{"x":{"$eq":[[[[]]]]}}}"#, &deep, false),
        (&format!("{{\"data\":{eight}}}"), &deep_objects, false),
        (r#"{"data":{"v":{"$endsWith":"ab","$startsWith":"aa"}}}"#, &long, true),
        (r#"{"data":{"v":{"$endsWith":"ab","$startsWith":"aa"}}}"#, &escaped, true),
        (&format!("{{\"data\":{{\"v\":{{\"$in\":\"{part}\"}}}}}}"), &long, false),
        (&format!("{{\"data\":{{\"v\":{{\"$in\":\"{part}\"}}}}}}"), &escaped, false),
    ] {
        assert_eq!(fits(json, data), expected, "{json}");
    }
}

#[test]
fn objects_and_lists_are_read_once_however_many_conditions_speak_of_them() {
    let object = format!("{{\"in\":{{{}\"k\":249}}}}", "\"x\":0,".repeat(1 << 12));
    let list = format!("{{\"in\":[{}{{\"k\":249}},249]}}", "{\"k\":\"x\"},".repeat(1 << 12));
    for (data, condition, levels) in [
        (&object, "{\"k\":N}", 2),
        (&list, "{\"k\":N}", 3),
        (&list, "N", 2),
        (&list, "[N]", 2),
        (&list, "{\"$in\":N}", 2),
        (&list, "{\"$in\":[N]}", 2),
        (&list, "{\"$not\":{\"$nin\":[N]}}", 2),
    ] {
        let read_for = |count: usize| {
            let branch = |n: usize| format!("{{\"data\":{{\"in\":{}}}}}", condition.replace('N', &n.to_string()));
            let branches: Vec<String> = (0..count).map(branch).collect();
            let filter = filter(&format!("{{\"$or\":[{}]}}", branches.join(",")));
            let before = READ.get();
            assert_eq!(filter.matches(&Sample::of(data.as_bytes()).input()), count == 250, "{condition}");
            READ.get() - before
        };
        let (one, many) = (read_for(1), read_for(250));
        assert_eq!(one, many, "{condition}");
        assert!(one > data.len() && one < levels * data.len(), "{condition}: {one} bytes of {}", data.len());
    }
}
