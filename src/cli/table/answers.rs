//! The three answers under a table of images. Pure.

use std::collections::BTreeSet;

use super::{Breadth, line};
use crate::cli::terminal::Paint;
use crate::state::answers::{Answer, Answers, Question};
use crate::verify::finding::Verdict;
use crate::view::Image;
use crate::view::answers::{asked, told, why};

/// Broken images named behind a no; the rest is counted.
const IMAGES_SHOWN: usize = 3;

/// A line for each question: the answer, what it is made of, and the first images that say no.
pub fn answers(answers: &Answers, images: &[Image], breadth: Breadth, paint: Paint) -> String {
    let mut text = String::new();
    let questions = Question::ALL.map(asked);
    let width = questions.map(str::len).into_iter().max().unwrap_or(0);
    for question in Question::ALL {
        let answer = answers.answer(question);
        // What is painted is longer than it looks.
        let word = format!("{:<10}", told(answer));
        let word = match answer {
            Answer::Yes => paint.green(&word),
            Answer::No => paint.red(&word),
            Answer::Unknown => paint.yellow(&word),
        };
        let why = why(question, answers.count(question), answer);
        let broken = broken(question, images, breadth);
        let row = format!("{:<width$}  {word}  {why}{broken}", asked(question));
        line(&mut text, &row);
    }
    text
}

/// `: r.example/a:1, r.example/b:1 and 3 more`
fn broken(question: Question, images: &[Image], breadth: Breadth) -> String {
    let is_asked = |image: &&Image| {
        let mut users = image.used_by.iter();
        users.any(|user| user.class == question.class() && !user.is_argument())
    };
    let broken = images
        .iter()
        .filter(|image| image.verdict == Verdict::Broken);
    // Once each, however many credentials pull it.
    let broken: BTreeSet<&str> = broken
        .filter(is_asked)
        .map(|image| image.reference.as_str())
        .collect();
    let most = match breadth {
        Breadth::Usual => IMAGES_SHOWN,
        Breadth::Wide => usize::MAX,
    };
    let shown = broken.iter().take(most).map(|it| breadth.text(it));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match (broken.len(), broken.len().saturating_sub(most)) {
        (0, _) => String::new(),
        (_, 0) => format!(": {shown}"),
        (_, more) => format!(": {shown} and {more} more"),
    }
}
