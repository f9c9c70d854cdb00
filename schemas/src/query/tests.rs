use proptest::prelude::*;
use serde_json::{Value, json};

use super::evaluate::holds;
use super::expression::{Binary, Expression, Function, Literal, Unary};
use super::parser::{condition, statement};
use super::statement::{Aggregate, Collection, Item, Select, Selected, Statement};

fn device() -> Value {
    json!({
        "deviceId": "line-1",
        "tags": { "building": 9, "env": "test", "on": true, "odd name": "x", "none": null, "list": [1, 2] },
        "properties": { "desired": { "$version": 4 }, "reported": { "model": "x", "temp": -3.5 } },
    })
}

#[test]
fn conditions_hold_or_do_not() {
    let device = device();
    for (text, expected) in [
        ("*", true),
        ("deviceId = 'line-1'", true),
        ("tags.building=9 AND tags.env = 'prod'", false),
        ("tags.building >= 9 and (tags.env='prod' OR properties.reported.model = \"x\")", true),
        ("NOT tags.env = 'prod'", true),
        ("NOT tags.env = 'test' OR tags.on", true),
        ("tags.env IN ['prod', 'test']", true),
        ("tags.env NIN ['prod']", true),
        ("tags.building IN []", false),
        ("tags.on", true),
        ("tags.env", false),
        ("tags.[[odd name]] = 'x'", true),
        ("properties.desired.$version = 0x4", true),
        ("properties.reported.temp < -3", true),
        ("tags.building + 1 = 2 * 5 AND tags.building % 2 = 1", true),
        ("-tags.building = 0 - 9", true),
        ("tags.building - 1 - 1 = 7", true),
        ("startswith_is_no_function", false),
        ("STARTS_WITH(deviceId, 'line') and ends_with(deviceId, '-1')", true),
        ("length(tags.env) = 4", true),
        ("array_contains(tags.list, 2)", true),
        ("array_contains(tags.list, '2') OR array_contains(tags.env, 'test')", false),
        ("tags.env = 'te\\u0073t'", true),
        // What is not there has no value, and what is compared with it has none either.
        ("tags.floor = 1", false),
        ("tags.floor != 1", false),
        ("NOT tags.floor = 1", false),
        ("tags.floor = undefined", false),
        ("is_defined(tags.floor)", false),
        ("NOT is_defined(tags.floor)", true),
        ("tags.floor = 1 OR tags.on", true),
        ("tags.none = null", true),
        ("tags.env = null", false),
        // Only what is of one type is compared, and no arrays.
        ("tags.building = '9'", false),
        ("tags.list = tags.list", false),
    ] {
        let read = condition(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(holds(&read, &device), expected, "{text}");
    }
}

#[test]
fn errors_name_the_column() {
    for (text, column, says) in [
        ("tags.a =", 9, "expected a value, found the end"),
        ("(tags.a = 1", 12, "expected ), found the end"),
        ("tags.a = 1 2", 12, "expected the end, found 2"),
        ("a = 'x", 5, "the text that begins with ' has no end"),
        ("= 1", 1, "expected a value, found ="),
        ("ä ~ 1", 3, "'~' is not a part of the language"),
        ("nothing(1) = 1", 1, "there is no function nothing"),
        ("upper() = 1", 1, "UPPER takes 1 values and was given 0"),
        ("a IN 'x'", 6, "expected [, found 'x'"),
        ("[[a = 1", 1, "the name that begins with [[ has no ]]"),
        ("a = 12x", 5, "12x is not a number"),
        (r"a = '\u+041'", 7, r"\u needs the four hexadecimal digits of a character"),
    ] {
        let error = condition(text).unwrap_err();
        assert_eq!((error.column(text), error.message.as_str()), (column, says), "{text}");
    }
    for (text, column, says) in [
        ("", 1, "expected SELECT, found the end"),
        ("SELECT * FROM things", 15, "expected devices, devices.modules or devices.jobs, found things"),
        ("SELECT * FROM devices.things", 23, "expected modules or jobs, found things"),
        ("SELECT TOP 0 * FROM devices", 12, "expected a whole number above 0, found 0"),
        ("SELECT FROM devices", 8, "expected a value, found FROM"),
        ("SELECT * FROM devices GROUP tags.a", 29, "expected BY, found tags"),
    ] {
        let error = statement(text).unwrap_err();
        assert_eq!((error.column(text), error.message.as_str()), (column, says), "{text}");
    }
    for (item, count) in [("1 + ", 8000), ("a AND ", 5000), ("a IN [] AND b IN [] OR ", 1300)] {
        let error = condition(&format!("{}a", item.repeat(count))).unwrap_err();
        assert!(error.message.contains("operators"), "{item} {error}");
    }
    // As long as they may be, they are gone through and dropped on a small stack.
    let long = format!("{}a", "a AND ".repeat(250));
    let holds_there = move || holds(&condition(&long).unwrap(), &device());
    let small = std::thread::Builder::new().stack_size(2 * 1024 * 1024).spawn(holds_there);
    assert!(!small.unwrap().join().unwrap());
    let deep = format!("{}1 = 1{}", "(".repeat(500), ")".repeat(500));
    assert!(condition(&deep).unwrap_err().message.contains("within each other"));
}

#[test]
fn statements_are_read() {
    let read = statement("select TOP 5 deviceId as id, COUNT() AS n, avg(tags.a) from devices.modules where moduleId = '$edgeAgent' group by tags.b, status").unwrap();
    assert_eq!((read.top, read.from, read.group_by.len()), (Some(5), Collection::Modules, 2));
    assert!(read.is_aggregate());
    let Select::Items(items) = read.select else { panic!("items") };
    assert_eq!(items[0].name.as_deref(), Some("id"));
    assert_eq!(items[1].value, Selected::Aggregate(Aggregate::Count, None));
    assert!(!statement("SELECT * FROM devices").unwrap().is_aggregate());
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z$_ .*=][a-zA-Z0-9_ ]{0,6}"
}

fn expression() -> impl Strategy<Value = Expression> {
    let literal = prop_oneof![
        Just(Literal::Undefined),
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Boolean),
        (0u32..100_000).prop_map(|number| Literal::Number(f64::from(number) / 8.0)),
        "[ -~äß]{0,8}".prop_map(Literal::Text),
    ];
    let leaf = prop_oneof![
        literal.prop_map(Expression::Literal),
        prop::collection::vec(name(), 1..4).prop_map(Expression::Path),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec![
            Binary::Or,
            Binary::And,
            Binary::Equal,
            Binary::NotEqual,
            Binary::Less,
            Binary::LessOrEqual,
            Binary::Greater,
            Binary::GreaterOrEqual,
            Binary::Add,
            Binary::Subtract,
            Binary::Multiply,
            Binary::Divide,
            Binary::Remainder,
        ]);
        let unary = prop::sample::select(vec![Unary::Not, Unary::Minus, Unary::Plus]);
        prop_oneof![
            (operator, inner.clone(), inner.clone()).prop_map(|(operator, left, right)| Expression::Binary(
                operator,
                Box::new(left),
                Box::new(right)
            )),
            (unary, inner.clone()).prop_map(|(operator, operand)| Expression::Unary(operator, Box::new(operand))),
            (inner.clone(), prop::collection::vec(inner.clone(), 0..3), any::<bool>())
                .prop_map(|(what, list, none_of)| Expression::In { what: Box::new(what), list, none_of }),
            (prop::sample::select(Function::ALL.to_vec()), inner.clone(), inner).prop_map(|(function, one, two)| {
                Expression::Call(function, [one, two].into_iter().take(function.arguments()).collect())
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        expression in expression(),
        top in prop::option::of(1usize..1000),
        names in prop::collection::vec(name(), 1..3),
    ) {
        prop_assert_eq!(condition(&expression.to_string()), Ok(expression.clone()), "{}", expression);
        let item = |value| Item { value, name: Some(names[0].clone()) };
        let items = vec![
            item(Selected::Value(expression.clone())),
            item(Selected::Aggregate(Aggregate::Maximum, Some(expression.clone()))),
        ];
        let whole = Statement {
            select: Select::Items(items),
            top,
            from: Collection::Jobs,
            condition: Some(expression),
            group_by: vec![names],
        };
        prop_assert_eq!(statement(&whole.to_string()), Ok(whole));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[ a-z.='\"()\\[\\],0-9ORANDit\\\\uä<>-]{0,60}") {
        if let Ok(read) = condition(&text) {
            holds(&read, &device());
        }
        let _ = statement(&format!("SELECT {text}"));
    }
}
