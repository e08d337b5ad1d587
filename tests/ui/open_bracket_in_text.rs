kiln::network! {
    pub net Net(image: [1, 3, 8, 8]) {
        let mut x = image;
        for i in 0..2 {
            x = x.conv(16, 3, name = "features.{i");
        }
        x.conv(8, 1, name = "features.{max(1, 2}")
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Net::load(&std::fs::read("net.safetensors")?)?.session(kiln::Threads::new(2));
    println!("{:?} {:?}", Net::INPUTS, session.run(&[0.0; 192])?);
    session.run_array(&[0.0; 192], &mut [0.0; 10]);
    Ok(())
}
