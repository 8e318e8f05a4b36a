DROP TABLE `paramedic_circuit_opinions`;
