kiln::network! {
    fn block(x, channels) {
        x.conv(channels, 3).relu()
    }

    pub net Net(image: [1, 3, 8, 8]) {
        block(image, 16, 2)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Net::load(&std::fs::read("net.safetensors")?)?.session(kiln::Threads::new(2));
    println!("{:?} {:?}", Net::INPUTS, session.run(&[0.0; 192])?);
    session.run_array(&[0.0; 192], &mut [0.0; 10]);
    Ok(())
}
