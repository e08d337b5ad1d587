kiln::network! {
    fn stem(x) {
        x.conv(16, 3)
    }

    pub net Net(image: [1, 3, 8, 8]) {
        let mut x = stem(image, 2);
        for width in [16, 32].iter() {
            x = x.clone().conv(width, 1, name = width.to_string());
        }
        x
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Net::load(&std::fs::read("net.safetensors")?)?.session(kiln::Threads::new(2));
    println!("{:?} {:?}", Net::INPUTS, session.run(&[0.0; 192])?);
    session.run_array(&[0.0; 192], &mut [0.0; 10]);
    Ok(())
}
