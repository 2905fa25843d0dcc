//! The three answers in words, as the page's head and a terminal say them. Pure.

use crate::state::answers::{Answer, Count, Question};

/// What is asked.
pub fn asked(question: Question) -> &'static str {
    match question {
        Question::LoseNode => "Can I lose a node?",
        Question::FailOver => "Can I fail over?",
        Question::RollBack => "Can I roll back?",
    }
}

/// The answer in a word or two.
pub fn told(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Unknown => "don't know",
    }
}

/// What the answer is made of.
pub fn why(question: Question, count: Count, answer: Answer) -> String {
    let Count {
        images,
        broken,
        unknown,
    } = count;
    let named = match question {
        Question::LoseNode => counted(images, "running image"),
        Question::FailOver => counted(images, "standby image"),
        Question::RollBack => counted(images, "earlier image"),
    };
    match answer {
        Answer::No => format!("{} of {named} broken", number(broken)),
        Answer::Unknown if unknown > 0 => format!("{} of {named} unknown", number(unknown)),
        Answer::Unknown if images == 0 => match question {
            Question::LoseNode => "no workload is known to run".to_owned(),
            Question::FailOver => {
                "no workload of a standby cluster is known (one has `role: failover`)".to_owned()
            }
            Question::RollBack => "no earlier version of a workload is known".to_owned(),
        },
        Answer::Unknown => format!("{named} proven, but the inventory may not be whole"),
        Answer::Yes => format!("{named} proven"),
    }
}

/// A count with its thousands apart.
pub fn number(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 image`, `2 images`.
pub fn counted(count: usize, one: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {one}{plural}", number(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_answer_says_of_what_it_is_made() {
        let count = |images, broken, unknown| Count {
            images,
            broken,
            unknown,
        };
        for (question, count, answer, said) in [
            (
                Question::LoseNode,
                count(41, 3, 2),
                Answer::No,
                "3 of 41 running images broken",
            ),
            (
                Question::FailOver,
                count(1, 0, 1),
                Answer::Unknown,
                "1 of 1 standby image unknown",
            ),
            (
                Question::RollBack,
                count(1200, 0, 0),
                Answer::Yes,
                "1,200 earlier images proven",
            ),
            (
                Question::FailOver,
                count(0, 0, 0),
                Answer::Unknown,
                "no workload of a standby cluster is known (one has `role: failover`)",
            ),
            (
                Question::LoseNode,
                count(2, 0, 0),
                Answer::Unknown,
                "2 running images proven, but the inventory may not be whole",
            ),
        ] {
            assert_eq!(why(question, count, answer), said);
        }
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        for (value, expected) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (100_000, "100,000"),
        ] {
            assert_eq!(number(value), expected);
        }
    }
}
