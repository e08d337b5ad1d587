kiln::network! {
    pub net Small(x: [1, 4]) { x.relu() }

    pub net small(x: [1, 4]) { x.relu() }

    pub net SmallSession(x: [1, 4]) { x.relu() }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut session = Small::load(&std::fs::read("net.safetensors")?)?.session(kiln::Threads::new(2));
    println!("{:?}", session.run(&[0.0; 4])?);
    Ok(())
}
