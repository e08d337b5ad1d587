//! Photos as inputs, one and many, and what the network says of them.

use std::fs;

use super::{fails, notes, succeeds};

/// The mean of each colour of a photo, as three classes.
pub(super) const COLOURS: &str = r#"
pub net Colours(image: [1, 3, 4, 4]) {
    image(resize = 5, crop = 4, mean = 100, std = 50);
    image.global_avg_pool().flatten()
}
"#;

/// A folder for one test, with the network of colours in it and photos in `photos`, each of one colour.
pub(super) fn photos(colours: &[(&str, [u8; 3])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("colours.net"), COLOURS).expect("a file");
    fs::create_dir(folder.path().join("photos")).expect("a folder");
    for (name, colour) in colours {
        let photo = image::RgbImage::from_pixel(12, 9, image::Rgb(*colour));
        photo.save(folder.path().join("photos").join(name)).expect("a file");
    }
    folder
}

#[test]
fn a_photo_is_classified_and_printed_for_people_and_for_programs() {
    let folder = photos(&[("a.png", [200, 100, 50])]);
    let path = folder.path();
    fs::write(path.join("labels.txt"), "red\ngreen\nblue, or \"azure\"\n").expect("a file");
    let base = ["run", "colours.net", "--weights", "fill", "--engine", "interp", "--input", "photos/a.png"];
    let run = |more: &[&str]| succeeds(path, &[&base[..], more].concat());
    // The scores are (200 - 100) / 50 = 2, 0 and -1; their softmax is e^2, 1 and e^-1 over their sum, 8.757.
    assert_eq!(run(&[]), "    0  0.844\n    1  0.114\n    2  0.042\n");
    let labels = ["--labels", "labels.txt"];
    assert_eq!(run(&[&labels[..], &["--top", "2"]].concat()), "    0  0.844  red\n    1  0.114  green\n");
    let csv = run(&[&labels[..], &["--csv"]].concat());
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!((lines.len(), lines[0]), (4, "file,rank,class,label,probability"));
    assert!(lines[1].starts_with("photos/a.png,1,0,red,0.843"), "{csv}");
    assert!(lines[3].starts_with("photos/a.png,3,2,\"blue, or \"\"azure\"\"\",0.042"), "{csv}");
    let json: serde_json::Value = serde_json::from_str(&run(&["--json"])).expect("JSON");
    assert_eq!((&json["net"], &json["images"][0]["file"]), (&"Colours".into(), &"photos/a.png".into()));
    let classes = json["images"][0]["classes"].as_array().expect("classes");
    assert_eq!(classes.iter().map(|class| &class["class"]).collect::<Vec<_>>(), [0, 1, 2]);
    let probability = classes[0]["probability"].as_f64().expect("a number");
    assert!((probability - 2f64.exp() / (2f64.exp() + 1.0 + (-1f64).exp())).abs() < 1e-6, "{probability}");
}

#[test]
fn a_folder_of_photos_runs_in_the_order_of_names_a_batch_at_a_time() {
    let colours = [("c.png", [0, 0, 200]), ("a.JPG", [200, 0, 0]), ("b.jpeg", [0, 200, 0])];
    let folder = photos(&colours);
    let path = folder.path();
    fs::write(path.join("photos/.hidden"), "not looked at").expect("a file");
    let run = |more: &[&str]| {
        succeeds(path, &[&["run", "colours.net", "--weights", "fill", "--input", "photos"], more].concat())
    };
    let table = run(&["--engine", "interp"]);
    let words: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().take(2).collect()).collect();
    assert_eq!(words, [["photos/a.JPG", "0"], ["photos/b.jpeg", "1"], ["photos/c.png", "2"]]);
    // The crate, of a batch that the third photo fills by half.
    let pairs = run(&["--set", "image=[2, 3, 4, 4]", "--csv", "--output", "scores.npy"]);
    assert_eq!(pairs, run(&["--engine", "kernel", "--csv"]));
    let scores = fs::read(path.join("scores.npy")).expect("the output");
    assert!(scores.windows(6).any(|window| window == b"(3, 3)"), "three images of three classes");
    assert_eq!(scores[scores.len() - 4..], 2f32.to_le_bytes(), "(200 - 100) / 50");
}

#[test]
fn what_is_no_photo_in_a_folder_is_left_out_and_broken_ones_are_told() {
    let folder = photos(&[("good.png", [1, 2, 3]), ("z.png", [1, 2, 3])]);
    let path = folder.path();
    let whole = fs::read(path.join("photos/good.png")).expect("the photo");
    let add = |name: &str, bytes: &[u8]| fs::write(path.join("photos").join(name), bytes).expect("a file");
    let run = ["run", "colours.net", "--engine", "interp", "--csv", "--top", "1", "--input"];
    let files = |more: &[&str]| -> Vec<String> {
        let csv = succeeds(path, &[&run[..], &["photos"], more].concat());
        csv.lines().skip(1).map(|line| line.split(',').next().expect("a file").to_owned()).collect()
    };
    assert_eq!(notes(path, &[&run[..], &["photos"]].concat()), "");
    add("notes.txt", b"text");
    add("list.csv", b"text");
    add(".DS_Store", b"text");
    fs::create_dir(path.join("photos/more.png")).expect("a folder");
    assert_eq!(files(&["--strict"]), ["photos/good.png", "photos/z.png"]);
    let said = notes(path, &[&run[..], &["photos"]].concat());
    assert_eq!(said, "2 photos; left out: 2 other files, 1 hidden and 1 folder\n");

    add("cut.png", &whole[..whole.len() / 2]);
    add("text.jpg", b"text");
    assert_eq!(files(&[]), ["photos/good.png", "photos/z.png"]);
    let said = notes(path, &[&run[..], &["photos"]].concat());
    for words in ["2 of 4 photos cannot be used:", "cut.png is broken", "text.jpg is a text, not a PNG or JPEG"] {
        assert!(said.contains(words), "`{words}` in: {said}");
    }
    let strict = fails(path, &[&run[..], &["photos", "--strict"]].concat());
    assert!(strict.contains("2 of 4 photos cannot be used:") && strict.contains("cut.png is broken"), "{strict}");
    for good in ["good.png", "z.png"] {
        fs::remove_file(path.join("photos").join(good)).expect("a file");
    }
    assert!(fails(path, &[&run[..], &["photos"]].concat()).contains("2 of 2 photos cannot be used"));
    for broken in ["cut.png", "text.jpg"] {
        fs::remove_file(path.join("photos").join(broken)).expect("a file");
    }
    let none = fails(path, &[&run[..], &["photos"]].concat());
    assert!(none.contains("there is no photo in photos, only 2 other files, 1 hidden and 1 folder"), "{none}");
}

#[test]
fn what_cannot_be_a_photo_of_the_network_is_told_before_anything_runs() {
    let folder = photos(&[("good.png", [1, 2, 3])]);
    let path = folder.path();
    let whole = fs::read(path.join("photos/good.png")).expect("the photo");
    fs::write(path.join("photos/cut.png"), &whole[..whole.len() / 2]).expect("a file");
    fs::write(path.join("photos/notes.txt"), "text").expect("a file");
    fs::create_dir(path.join("photos/more")).expect("a folder");
    let refused = |input: &str, more: &[&str]| {
        let base = ["run", "colours.net", "--weights", "fill", "--output", "out.npy", "--input", input];
        let message = fails(path, &[&base[..], more].concat());
        assert!(!path.join("out.npy").exists());
        message
    };
    assert!(refused("photos/cut.png", &[]).contains("cut.png is broken"));
    assert!(refused("photos/none.png", &[]).contains("cannot read photos/none.png"));
    assert!(refused("photos/notes.txt", &[]).contains("neither a tensor nor a photo"));
    assert!(refused("photos/more", &[]).contains("no photo in photos/more"));
    let good = |more: &[&str]| refused("photos/good.png", more);
    assert!(good(&["--input", "photos/cut.png"]).contains("given twice"));
    assert!(good(&["--labels", "photos/notes.txt"]).contains("names 1 class, but the output has 3"));
    assert!(good(&["--set", "image=[1, 4, 4, 4]"]).contains("[1, 4, 4, 4]"));
    fs::write(path.join("colours.net"), COLOURS.replace(".flatten()", "")).expect("a file");
    assert!(good(&["--csv"]).contains("[1, 3, 1, 1]"));
    fs::write(path.join("colours.net"), COLOURS.replace("mean = 100", "mean = [1, 2]")).expect("a file");
    assert!(good(&[]).contains("`mean` of image has 2 numbers for an input of 3 channels"));
    fs::write(path.join("colours.net"), COLOURS.replace("image(resize", "// image(resize")).expect("a file");
    let message = good(&[]);
    assert!(
        message.contains("does not say how a photo becomes its input `image`")
            && message.contains("image(resize = ")
            && message.contains("--image imagenet"),
        "{message}"
    );
}

#[test]
fn the_command_line_says_how_a_photo_becomes_the_input_of_a_model() {
    let folder = photos(&[("a.png", [200, 100, 50])]);
    let path = folder.path();
    // The same network without its line, as a model, whose channels are last in one of them.
    fs::write(path.join("plain.net"), COLOURS.replace("image(resize", "// image(resize")).expect("a file");
    succeeds(path, &["export", "plain.net", "--out", "first.onnx"]);
    let last = "pub net Last(x: [1, 4, 5, 3]) { x.transpose([0, 3, 1, 2]).global_avg_pool().flatten() }";
    fs::write(path.join("last.net"), last).expect("a file");
    succeeds(path, &["export", "last.net", "--out", "last.onnx"]);
    let run = |spec: &str, image: &[&str]| {
        let base = ["run", spec, "--engine", "interp", "--input", "photos/a.png", "--csv"];
        succeeds(path, &[&base[..], image].concat())
    };
    let expected = run("colours.net", &[]);
    let settings = "resize=5 crop=4 mean=100 std=50";
    for spec in ["plain.net", "first.onnx", "last.onnx"] {
        let base = ["run", spec, "--engine", "interp", "--input", "photos/a.png"];
        let message = fails(path, &base);
        assert!(
            message.contains("does not say how a photo becomes its input") && message.contains("--image"),
            "{message}"
        );
        assert_eq!(run(spec, &["--image", settings]), expected, "{spec}");
        let fractions = format!("crop=4 mean={} std={}", 100.0 / 255.0, 50.0 / 255.0);
        assert_eq!(run(spec, &["--image", &fractions]), expected, "{spec}");
    }
    // In place of what the network says.
    assert_ne!(run("colours.net", &["--image", "imagenet"]), expected);
    let wrong = fails(path, &["run", "first.onnx", "--input", "photos/a.png", "--image", "crop=4 size=5"]);
    assert!(wrong.contains("`--image`: ") && wrong.contains("size"), "{wrong}");
}

#[test]
fn a_network_of_a_thousand_classes_of_photos_names_them_as_imagenet_does() {
    let folder = photos(&[]);
    let path = folder.path();
    let wide = COLOURS.replace(".flatten()", ".flatten().linear(1000, name = \"fc\")");
    let names = include_str!("../../classes/imagenet.txt").lines().collect::<Vec<_>>();
    let classes = |net: &str| -> Vec<serde_json::Value> {
        fs::write(path.join("wide.net"), net).expect("a file");
        let run = ["run", "wide.net", "--weights", "fill", "--input", "fill", "--engine", "interp", "--json"];
        let json: serde_json::Value = serde_json::from_str(&succeeds(path, &run)).expect("JSON");
        json["images"][0]["classes"].as_array().expect("classes").clone()
    };
    let named = classes(&wide);
    assert_eq!(named.len(), 5);
    for class in named {
        assert_eq!(class["label"], names[class["class"].as_u64().expect("a class") as usize]);
    }
    let unnamed = classes(&wide.replace("image(resize", "// image(resize"));
    assert!(unnamed.iter().all(|class| class["label"].is_null()));
}
