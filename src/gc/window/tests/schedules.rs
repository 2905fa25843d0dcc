//! What is a schedule, what it means, and what is refused.

use jiff::civil::{Date, date};

use crate::gc::window::schedule::Schedule;

fn due(text: &str, day: Date) -> Vec<String> {
    let schedule: Schedule = text.parse().unwrap();
    schedule
        .on(day)
        .map(|due| due.strftime("%H:%M").to_string())
        .collect()
}

/// The days of a month on which it is due.
fn days(text: &str, year: i16, month: i8) -> Vec<i8> {
    let schedule: Schedule = text.parse().unwrap();
    let first = date(year, month, 1);
    let days = std::iter::successors(Some(first), |day| day.tomorrow().ok())
        .take_while(|day| day.month() == month);
    days.filter(|day| schedule.on(*day).next().is_some())
        .map(Date::day)
        .collect()
}

#[test]
fn fields_are_those_of_crontab() {
    let sunday = date(2026, 11, 22);
    for (text, expected) in [
        ("0 2 * * 0", vec!["02:00"]),
        (" 0  2\t* * 7 ", vec!["02:00"]),
        ("0 2 * nov sun", vec!["02:00"]),
        ("0 2 * * Fri-Sun", vec!["02:00"]),
        ("0 2 * * 5-7", vec!["02:00"]),
        ("0 2 * * mon-fri", vec![]),
        ("0 2 * * 1,SUN", vec!["02:00"]),
        ("0 2 * * Sun-Tue", vec!["02:00"]),
        ("0 2 * jan-oct *", vec![]),
        (
            "*/20 1-3/2 * * *",
            vec!["01:00", "01:20", "01:40", "03:00", "03:20", "03:40"],
        ),
        (
            "5-59/25,0 23 22 11 *",
            vec!["23:00", "23:05", "23:30", "23:55"],
        ),
        ("59 0-23/23 * * *", vec!["00:59", "23:59"]),
        ("07 09 * * *", vec!["09:07"]),
    ] {
        assert_eq!(due(text, sunday), expected, "{text}");
    }
    assert_eq!(
        "0 2 * * 0".parse::<Schedule>().unwrap().to_string(),
        "0 2 * * 0"
    );
}

#[test]
fn of_two_days_one_is_enough() {
    // November 2026 begins on a Sunday.
    assert_eq!(days("0 2 * * 0", 2026, 11), [1, 8, 15, 22, 29]);
    assert_eq!(days("0 2 10 * *", 2026, 11), [10]);
    assert_eq!(days("0 2 10 * 0", 2026, 11), [1, 8, 10, 15, 22, 29]);
    assert_eq!(days("0 2 */10 * *", 2026, 11), [1, 11, 21]);
    assert_eq!(days("0 2 * * */3", 2026, 11).len(), 13);
    assert_eq!(days("0 2 29 2 *", 2028, 2), [29]);
    assert_eq!(days("0 2 29 2 *", 2027, 2), [0_i8; 0]);
    assert_eq!(days("0 2 29,30 2 *", 2028, 2), [29]);
    assert_eq!(days("0 2 31 * *", 2026, 11), [0_i8; 0]);
    // As soon as there is a weekday, there is a day.
    assert_eq!(days("0 2 30 2 1", 2027, 2), [1, 8, 15, 22]);
}

#[test]
fn whatever_else_a_cron_knows_is_refused_with_the_way_out() {
    for (text, told) in [
        ("", "it has 0: expected five fields (minute, hour"),
        ("@daily", "it has 1: expected five fields"),
        ("0 0 2 * * 0", "it has 6: expected five fields"),
        ("0 2 * * 0 2027 UTC", "it has 7"),
        ("60 2 * * *", "its minute `60` is not a number from 0 to 59"),
        ("0 24 * * *", "its hour `24` is not a number from 0 to 23"),
        (
            "0 2 0 * *",
            "its day of month `0` is not a number from 1 to 31",
        ),
        ("0 2 L * *", "its day of month `L` is not"),
        ("0 2 15W * *", "its day of month `15W` is not"),
        ("0 2 ? * 1", "its day of month `?` is not"),
        (
            "0 2 * 13 *",
            "its month `13` is not a number from 1 to 12, or a name as JAN",
        ),
        ("0 2 * JANUARY *", "its month `JANUARY` is not"),
        (
            "0 2 * * 8",
            "its day of week `8` is not a number from 0 to 7, or a name as SUN",
        ),
        ("0 2 * * 1#2", "its day of week `1#2` is not"),
        ("0 2 * * +1", "its day of week `+1` is not"),
        ("MON 2 * * *", "its minute `MON` is not"),
        ("0 2 * * JAN", "its day of week `JAN` is not"),
        ("+5 2 * * *", "its minute `+5` is not"),
        ("-5 2 * * *", "its minute `` is not"),
        ("5, 2 * * *", "its minute `` is not"),
        ("5,,6 2 * * *", "its minute `` is not"),
        ("*,5 2 * * *", "its minute has `*` in a list"),
        (
            "5/10 2 * * *",
            "its minute `5/10` has a step and no range; write where it ends, as 5-59/10",
        ),
        (
            "*/0 2 * * *",
            "its minute has the step `0`, which is not a number from 1 to 59",
        ),
        ("*/90 * * * *", "its minute has the step `90`"),
        ("*/5/5 * * * *", "its minute has the step `5/5`"),
        (
            "50-10 2 * * *",
            "its minute `50-10` ends before it begins; write it as two, as 50-59,0-10",
        ),
        (
            "0 2 * * FRI-MON",
            "its day of week `FRI-MON` ends before it begins; write it as two, as 5-7,0-1",
        ),
        ("0 2 * * 5-0", "its day of week `5-0` ends before it begins"),
        (
            "0 2 */2 * 1",
            "its two days are read differently by different crons",
        ),
        ("0 2 1 * */2", "its two days are read differently"),
        ("0 2 */2 * */2", "its two days are read differently"),
        (
            "0 2 30 2 *",
            "it never opens: no month of it has such a day",
        ),
        ("0 2 31 4,6,9,11 *", "it never opens"),
        ("0 2 30-31 2 *", "it never opens"),
    ] {
        match text.parse::<Schedule>() {
            Ok(schedule) => panic!("{text}: {schedule:?}"),
            Err(problem) => assert!(problem.to_string().contains(told), "{text}: {problem}"),
        }
    }
}
