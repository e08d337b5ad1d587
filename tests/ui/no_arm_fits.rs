kiln::network! {
    fn stage(x, depth) {
        let channels = match depth { 18 | 34 => 64, 50..=152 => 256 };
        x.conv(channels, 1)
    }

    pub net Net(image: [1, 3, 8, 8], depth = 42) {
        stage(image, depth, name = "layer1")
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Net::load(&std::fs::read("net.safetensors")?)?.session(kiln::Threads::new(2));
    println!("{:?} {:?}", Net::INPUTS, session.run(&[0.0; 192])?);
    session.run_array(&[0.0; 192], &mut [0.0; 10]);
    Ok(())
}
