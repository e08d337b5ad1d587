kiln::network! {
    pub net Net(image: [1, 3, 8, 8]) {
        let x = image.conv(16, 3, stride = 4, padding = 1, name = "stem").relu();
        x.conv(32, 5, padding = 1, name = "conv")
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Net::load(&std::fs::read("net.safetensors")?)?.session(kiln::Threads::new(2));
    println!("{:?} {:?}", Net::INPUTS, session.run(&[0.0; 192])?);
    session.run_array(&[0.0; 192], &mut [0.0; 10]);
    Ok(())
}
